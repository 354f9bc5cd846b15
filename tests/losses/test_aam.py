"""AAMLoss against the formula in float64, and at cosines where other implementations fail."""

from __future__ import annotations

import math

import numpy as np
import paddle
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vprtrain.errors import UsageError
from vprtrain.losses import AAMLoss


def formula(
    cosines: np.ndarray,
    labels: np.ndarray,
    *,
    margin: float,
    scale: float,
    easy: bool,
    smoothing: float,
) -> float:
    """The definition, class by class, in float64."""
    batch, classes = cosines.shape
    total = 0.0
    for row, label in zip(cosines.astype("float64"), labels, strict=True):
        theta = math.acos(min(1.0, max(-1.0, row[label])))
        if easy:
            lowered = math.cos(theta + margin) if row[label] > 0 else row[label]
        elif theta + margin < math.pi:
            lowered = math.cos(theta + margin)
        else:
            lowered = row[label] - 1 - math.cos(math.pi - margin)
        logits = scale * row
        logits[label] = scale * lowered
        logarithms = logits - logits.max() - math.log(np.exp(logits - logits.max()).sum())
        target = np.full(classes, smoothing / classes)
        target[label] += 1 - smoothing
        total -= (target * logarithms).sum()
    return total / batch


@settings(deadline=None, max_examples=150)
@given(
    seed=st.integers(0, 2**32 - 1),
    classes=st.integers(2, 12),
    margin=st.floats(0, 0.6),
    scale=st.floats(1, 96),
    easy=st.booleans(),
    smoothing=st.sampled_from([0.0, 0.1]),
)
def test_equals_the_formula(
    seed: int, classes: int, margin: float, scale: float, easy: bool, smoothing: float
) -> None:
    rng = np.random.default_rng(seed)
    cosines = rng.uniform(-1, 1, (6, classes)).astype("float32")
    labels = rng.integers(0, classes, 6)
    loss = AAMLoss(margin=margin, scale=scale, easy_margin=easy, label_smoothing=smoothing)
    ours = loss(paddle.to_tensor(cosines), paddle.to_tensor(labels))
    expected = formula(cosines, labels, margin=margin, scale=scale, easy=easy, smoothing=smoothing)
    assert ours.shape == [] and ours.dtype == paddle.float32
    assert ours.item() == pytest.approx(expected, rel=1e-4, abs=1e-4)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_the_gradient_is_that_of_the_formula(smoothing: float) -> None:
    rng = np.random.default_rng(3)
    values, labels = rng.uniform(-0.95, 0.95, (4, 5)), np.array([0, 4, 2, 2])
    values[0, 0] = -0.999  # an angle at which the fallback applies
    cosines = paddle.to_tensor(values.astype("float32"), stop_gradient=False)
    AAMLoss(margin=0.3, scale=8.0, label_smoothing=smoothing)(
        cosines, paddle.to_tensor(labels)
    ).backward()
    expected = np.zeros_like(values)
    for at in np.ndindex(values.shape):
        step = np.zeros_like(values)
        step[at] = 1e-5
        above, below = (
            formula(
                values + sign * step, labels, margin=0.3, scale=8.0, easy=False, smoothing=smoothing
            )
            for sign in (1, -1)
        )
        expected[at] = (above - below) / 2e-5
    np.testing.assert_allclose(cosines.grad.numpy(), expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("cosine", [1.0, -1.0, 1 + 1e-7, -1 - 1e-7, 1 - 1e-7, 0.99999])
@pytest.mark.parametrize("scale", [32.0, 96.0])
@pytest.mark.parametrize("easy_margin", [False, True])
@pytest.mark.parametrize("margin", [0.0, 0.2, 0.5])
def test_finite_at_the_ends(cosine: float, scale: float, easy_margin: bool, margin: float) -> None:
    cosines = paddle.full([3, 4], -cosine)
    cosines[:, 1] = cosine
    cosines.stop_gradient = False
    loss = AAMLoss(margin=margin, scale=scale, easy_margin=easy_margin)(
        cosines, paddle.to_tensor([1, 1, 0])
    )
    loss.backward()
    assert math.isfinite(loss.item())
    assert np.isfinite(cosines.grad.numpy()).all()


def test_continuous_where_the_fallback_begins() -> None:
    loss = AAMLoss(margin=0.3)
    limit = math.cos(math.pi - 0.3)
    below, above = loss.lowered(paddle.to_tensor([limit - 1e-5, limit + 1e-5])).tolist()
    assert below == pytest.approx(above, abs=1e-4)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_low_precision_is_computed_in_float32(dtype: str) -> None:
    cosines = paddle.to_tensor(
        np.random.default_rng(0).uniform(-1, 1, (4, 6)), dtype="float32"
    ).astype(dtype)
    labels = paddle.to_tensor([1, 2, 3, 5])
    loss = AAMLoss()(cosines, labels)
    assert loss.dtype == paddle.float32
    assert loss.item() == AAMLoss()(cosines.astype("float32"), labels).item()


def test_the_margin_is_set_while_training() -> None:
    cosines, labels = paddle.to_tensor([[0.6, 0.1], [0.2, 0.7]]), paddle.to_tensor([0, 1])
    loss = AAMLoss(margin=0.0)
    values = []
    for margin in (0.0, 0.1, 0.3):
        loss.margin = margin
        assert loss.margin == margin
        values.append(loss(cosines, labels).item())
        assert values[-1] == AAMLoss(margin=margin)(cosines, labels).item()
    assert values == sorted(values) and values[0] < values[-1]
    assert not loss.parameters() and not loss.state_dict()


@pytest.mark.parametrize(
    "options",
    [
        {"margin": -0.1},
        {"margin": 2.0},
        {"margin": math.nan},
        {"scale": 0.0},
        {"label_smoothing": 1.0},
    ],
)
def test_impossible_options_are_refused(options: dict[str, float]) -> None:
    with pytest.raises(UsageError, match=str(next(iter(options.values())))):
        AAMLoss(**options)
