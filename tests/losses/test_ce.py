"""CELoss against its definition in float64, and its linear head."""

from __future__ import annotations

import numpy as np
import paddle
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from loss_checks import SEEDS, SMOOTHING, cross_entropy, gradient, numerical_gradient, value

from vprtrain.errors import UsageError
from vprtrain.losses import CELoss, LinearHead, MarginLoss


@settings(deadline=None, max_examples=60)
@given(
    seed=SEEDS,
    batch=st.integers(1, 6),
    classes=st.integers(2, 12),
    magnitude=st.floats(0.1, 300),
    smoothing=SMOOTHING,
)
def test_equals_the_formula(
    seed: int, batch: int, classes: int, magnitude: float, smoothing: float
) -> None:
    rng = np.random.default_rng(seed)
    logits = (magnitude * rng.standard_normal((batch, classes))).astype("float32")
    labels = rng.integers(0, classes, batch)
    expected = cross_entropy(logits.astype("float64"), labels, smoothing)
    assert value(CELoss(label_smoothing=smoothing), logits, labels) == pytest.approx(
        expected, rel=1e-5, abs=1e-6 * magnitude
    )


def test_the_gradient_is_that_of_the_formula() -> None:
    rng = np.random.default_rng(0)
    logits, labels = 3 * rng.standard_normal((3, 5)), np.array([0, 4, 2])
    expected = numerical_gradient(lambda moved: cross_entropy(moved, labels, 0.1), logits)
    np.testing.assert_allclose(
        gradient(CELoss(label_smoothing=0.1), logits, labels), expected, rtol=1e-4, atol=1e-6
    )


def test_takes_the_logits_of_a_linear_layer() -> None:
    head = CELoss().build_head(embedding_dim=4, num_classes=3)
    assert isinstance(head, LinearHead)
    head.bias.set_value(np.array([1.0, -2.0, 0.5], dtype="float32"))
    embeddings = np.random.default_rng(0).standard_normal((2, 4)).astype("float32")
    logits = head(paddle.to_tensor(embeddings))
    np.testing.assert_allclose(
        logits.numpy(), embeddings @ head.weight.numpy() + head.bias.numpy(), rtol=1e-5
    )
    halves = paddle.to_tensor(embeddings).astype("float16")
    assert head(halves).dtype == paddle.float32
    np.testing.assert_array_equal(head(halves).numpy(), head(halves.astype("float32")).numpy())


def test_has_no_margin() -> None:
    assert not isinstance(CELoss(), MarginLoss)


def test_impossible_label_smoothing_is_refused() -> None:
    with pytest.raises(UsageError, match=r"1\.5"):
        CELoss(label_smoothing=1.5)
