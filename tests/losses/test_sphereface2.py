"""SphereFace2Loss against its definition in float64."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from loss_checks import MARGINS, SCALES, SEEDS, draw, gradient, numerical_gradient, turned, value

from vprtrain.errors import UsageError
from vprtrain.losses import SphereFace2Loss

MarginType = Literal["A", "C"]


def formula(
    cosines: np.ndarray,
    labels: np.ndarray,
    *,
    margin_type: MarginType,
    margin: float,
    scale: float,
    bias: float = 0.0,
    weight: float = 0.7,
    exponent: int = 3,
) -> float:
    """The definition, class by class."""

    def g(z: float) -> float:
        return 2 * ((z + 1) / 2) ** exponent - 1

    total = 0.0
    for row, label in zip(cosines.astype("float64"), labels, strict=True):
        for place, cosine in enumerate(row):
            if place == label:
                positive = g(turned(cosine, margin)) if margin_type == "A" else g(cosine) - margin
                total += weight * np.logaddexp(0, -(scale * positive + bias))
            else:
                negative = (
                    g(math.cos(math.acos(cosine) - margin))
                    if margin_type == "A"
                    else g(cosine) + margin
                )
                total += (1 - weight) * np.logaddexp(0, scale * negative + bias)
    return total / len(labels)


@settings(deadline=None, max_examples=150)
@given(
    seed=SEEDS,
    batch=st.integers(1, 6),
    classes=st.integers(2, 12),
    margin_type=st.sampled_from(["A", "C"]),
    margin=MARGINS,
    scale=SCALES,
    bias=st.floats(-5, 5),
    weight=st.floats(0.1, 0.9),
    exponent=st.integers(1, 5),
)
def test_equals_the_formula(
    seed: int,
    batch: int,
    classes: int,
    margin_type: MarginType,
    margin: float,
    scale: float,
    bias: float,
    weight: float,
    exponent: int,
) -> None:
    cosines, labels = draw(seed, batch, classes, classes)
    options = {"margin_type": margin_type, "margin": margin, "scale": scale, "exponent": exponent}
    loss = SphereFace2Loss(positive_weight=weight, **options)
    loss.bias.set_value(np.array([bias], dtype="float32"))
    expected = formula(cosines, labels, bias=bias, weight=weight, **options)
    assert value(loss, cosines, labels) == pytest.approx(expected, rel=2e-4, abs=2e-4)


@pytest.mark.parametrize("margin_type", ["A", "C"])
def test_the_gradient_is_that_of_the_formula(margin_type: MarginType) -> None:
    cosines, labels = draw(7, 4, 5, 5)
    cosines[0, labels[0]] = -0.999  # an angle at which type A has its continuation
    options = {"margin_type": margin_type, "margin": 0.2, "scale": 8.0}
    loss = SphereFace2Loss(**options)
    expected = numerical_gradient(
        lambda moved: formula(moved, labels, **options), cosines.astype("float64")
    )
    np.testing.assert_allclose(gradient(loss, cosines, labels), expected, rtol=1e-3, atol=1e-5)
    of_bias = numerical_gradient(
        lambda moved: formula(cosines, labels, bias=moved[0], **options), np.zeros(1)
    )
    np.testing.assert_allclose(loss.bias.grad.numpy(), of_bias, rtol=1e-3)


def test_the_bias_is_a_parameter_of_the_loss() -> None:
    loss = SphereFace2Loss()
    assert [name for name, _ in loss.named_parameters()] == ["bias"] and list(
        loss.state_dict()
    ) == ["bias"]
    assert not loss.bias.stop_gradient and loss.bias.item() == 0


def test_a_large_scale_does_not_overflow() -> None:
    """``e^z`` overflows float32 from z = 89."""
    cosines, labels = np.array([[-1.0, 1.0]]), np.array([0])
    loss = SphereFace2Loss(margin=0.5, scale=96.0)
    expected = 0.7 * 96 * 1.5 + 0.3 * 96 * 1.5
    assert value(loss, cosines, labels) == pytest.approx(expected, rel=1e-6)
    assert np.isfinite(gradient(loss, cosines, labels)).all()


def test_many_far_classes_add_nothing_but_what_they_are() -> None:
    """The sum has thousands of tiny terms and a large one."""
    cosines = np.full((2, 8388), -0.2, dtype="float32")
    labels = np.array([0, 8387])
    expected = formula(cosines, labels, margin_type="C", margin=0.2, scale=32.0)
    assert value(SphereFace2Loss(), cosines, labels) == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize(
    "options",
    [
        {"scale": 0.0},
        {"exponent": 0},
        {"positive_weight": 1.0},
        {"margin_type": "B"},
        {"margin": -0.1},
    ],
)
def test_impossible_options_are_refused(options: dict) -> None:
    with pytest.raises(UsageError, match=str(next(iter(options.values())))):
        SphereFace2Loss(**options)


def test_the_mean_is_over_the_batch() -> None:
    cosines, labels = draw(2, 3, 4, 4)
    alone = [value(SphereFace2Loss(), cosines[i : i + 1], labels[i : i + 1]) for i in range(3)]
    assert value(SphereFace2Loss(), cosines, labels) == pytest.approx(np.mean(alone), rel=1e-5)
