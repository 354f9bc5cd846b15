"""AMLoss and ARMLoss against their definitions in float64."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from loss_checks import (
    MARGINS,
    SCALES,
    SEEDS,
    SMOOTHING,
    cross_entropy,
    draw,
    gradient,
    numerical_gradient,
    value,
)

from vprtrain.losses import AMLoss, ARMLoss


def additive_margin(
    cosines: np.ndarray, labels: np.ndarray, *, margin: float, scale: float, smoothing: float = 0.0
) -> float:
    logits = scale * cosines.astype("float64")
    for row, label in enumerate(labels):
        logits[row, label] = scale * (float(cosines[row, label]) - margin)
    return cross_entropy(logits, labels, smoothing)


def real_margin(
    cosines: np.ndarray, labels: np.ndarray, *, margin: float, scale: float, smoothing: float = 0.0
) -> float:
    logits = scale * cosines.astype("float64")
    for row, label in enumerate(labels):
        target = scale * (float(cosines[row, label]) - margin)
        for other in range(logits.shape[1]):
            if other == label:
                logits[row, other] = target
            elif logits[row, other] < target:
                logits[row, other] = 0.0
    return cross_entropy(logits, labels, smoothing)


@settings(deadline=None, max_examples=100)
@given(
    seed=SEEDS,
    batch=st.integers(1, 6),
    classes=st.integers(2, 12),
    margin=MARGINS,
    scale=SCALES,
    smoothing=SMOOTHING,
)
def test_am_equals_the_formula(
    seed: int, batch: int, classes: int, margin: float, scale: float, smoothing: float
) -> None:
    cosines, labels = draw(seed, batch, classes, classes)
    loss = AMLoss(margin=margin, scale=scale, label_smoothing=smoothing)
    expected = additive_margin(cosines, labels, margin=margin, scale=scale, smoothing=smoothing)
    assert value(loss, cosines, labels) == pytest.approx(expected, rel=1e-4, abs=1e-4)


@settings(deadline=None, max_examples=100)
@given(
    seed=SEEDS,
    batch=st.integers(1, 6),
    classes=st.integers(2, 12),
    margin=MARGINS,
    scale=SCALES,
    smoothing=SMOOTHING,
)
def test_arm_equals_the_formula(
    seed: int, batch: int, classes: int, margin: float, scale: float, smoothing: float
) -> None:
    cosines, labels = draw(seed, batch, classes, classes)
    targets = np.take_along_axis(cosines.astype("float64"), labels[:, None], 1) - margin
    assume(np.abs(cosines - targets).min() > 1e-6)  # the loss is discontinuous there
    loss = ARMLoss(margin=margin, scale=scale, label_smoothing=smoothing)
    expected = real_margin(cosines, labels, margin=margin, scale=scale, smoothing=smoothing)
    assert value(loss, cosines, labels) == pytest.approx(expected, rel=1e-4, abs=1e-4)


@pytest.mark.parametrize(("made", "formula"), [(AMLoss, additive_margin), (ARMLoss, real_margin)])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_the_gradient_is_that_of_the_formula(made: type[AMLoss], formula, smoothing: float) -> None:
    cosines, labels = draw(3, 5, 6, 6)
    options = {"margin": 0.3, "scale": 8.0}
    expected = numerical_gradient(
        lambda moved: formula(moved, labels, smoothing=smoothing, **options),
        cosines.astype("float64"),
    )
    ours = gradient(made(label_smoothing=smoothing, **options), cosines, labels)
    np.testing.assert_allclose(ours, expected, rtol=1e-3, atol=1e-5)


def test_arm_does_not_push_a_class_that_keeps_the_margin() -> None:
    cosines, labels = np.array([[0.9, 0.3, 0.8]]), np.array([0])
    pushed = gradient(ARMLoss(margin=0.2, scale=10.0), cosines, labels)
    assert pushed[0, 1] == 0 and pushed[0, 2] > 0 > pushed[0, 0]
    assert gradient(AMLoss(margin=0.2, scale=10.0), cosines, labels)[0, 1] > 0
