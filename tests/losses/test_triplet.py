"""TripletAngularMarginLoss against its definition in float64."""

from __future__ import annotations

import numpy as np
import paddle
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from loss_checks import SEEDS, cross_entropy, numerical_gradient

from vprtrain.errors import UsageError
from vprtrain.losses import LinearHead, TripletAngularMarginLoss


def formula(
    embeddings: np.ndarray,
    labels: np.ndarray,
    *,
    margin: float = 0.5,
    near: float = 0.8,
    far: float = 0.4,
    absolute_weight: float = 1.0,
) -> float:
    """The definition, anchor by anchor."""
    unit = embeddings.astype("float64")
    unit = unit / np.linalg.norm(unit, axis=1, keepdims=True)
    ranking, absolute = 0.0, 0.0
    for i, anchor in enumerate(unit):
        cosines = [float(anchor @ other) for other in unit]
        positive = min(
            cosine for cosine, label in zip(cosines, labels, strict=True) if label == labels[i]
        )
        absolute += max(0.0, near - positive)
        wrong = [
            cosine for cosine, label in zip(cosines, labels, strict=True) if label != labels[i]
        ]
        if wrong:
            ranking += max(0.0, max(wrong) - positive + margin)
            absolute += max(0.0, max(wrong) - far)
    return (ranking + absolute_weight * absolute) / len(labels)


def term(
    loss: TripletAngularMarginLoss, embeddings: np.ndarray, labels: np.ndarray
) -> paddle.Tensor:
    return loss.triplets(paddle.to_tensor(embeddings.astype("float32")), paddle.to_tensor(labels))


@settings(deadline=None, max_examples=150)
@given(
    seed=SEEDS,
    batch=st.integers(1, 12),
    classes=st.integers(1, 4),
    size=st.integers(2, 16),
    margin=st.floats(0, 1.5),
    near=st.floats(0, 1),
    far=st.floats(-0.5, 0.5),
    absolute_weight=st.sampled_from([0.0, 0.1, 1.0]),
)
def test_equals_the_formula(
    seed: int,
    batch: int,
    classes: int,
    size: int,
    margin: float,
    near: float,
    far: float,
    absolute_weight: float,
) -> None:
    """The batches have anchors that are alone in their class, or one class only."""
    rng = np.random.default_rng(seed)
    embeddings, labels = rng.standard_normal((batch, size)), rng.integers(0, classes, batch)
    options = {"margin": margin, "near": near, "far": far, "absolute_weight": absolute_weight}
    ours = term(TripletAngularMarginLoss(**options), embeddings, labels)
    assert ours.shape == [] and ours.dtype == paddle.float32
    assert ours.item() == pytest.approx(formula(embeddings, labels, **options), rel=1e-4, abs=1e-5)


def test_the_gradient_is_that_of_the_formula() -> None:
    rng = np.random.default_rng(1)
    values, labels = rng.standard_normal((7, 5)), np.array([0, 0, 1, 1, 2, 2, 3])
    embeddings = paddle.to_tensor(values.astype("float32"), stop_gradient=False)
    TripletAngularMarginLoss(margin=0.4).triplets(embeddings, paddle.to_tensor(labels)).backward()
    expected = numerical_gradient(lambda moved: formula(moved, labels, margin=0.4), values)
    assert np.abs(expected).max() > 0.01
    np.testing.assert_allclose(embeddings.grad.numpy(), expected, rtol=1e-3, atol=1e-5)


def test_the_objective_is_cross_entropy_and_triplets() -> None:
    rng = np.random.default_rng(2)
    labels = np.array([0, 0, 1, 2])
    embeddings = rng.standard_normal((4, 6)).astype("float32")
    loss = TripletAngularMarginLoss(label_smoothing=0.1)
    head = loss.build_head(embedding_dim=6, num_classes=3)
    assert isinstance(head, LinearHead)
    tensor = paddle.to_tensor(embeddings)
    scores = head(tensor)
    ours = loss.objective(scores, paddle.to_tensor(labels), tensor).item()
    classified = cross_entropy(scores.numpy().astype("float64"), labels, 0.1)
    assert ours == pytest.approx(classified + formula(embeddings, labels), rel=1e-5)
    assert loss(scores, paddle.to_tensor(labels)).item() == pytest.approx(classified, rel=1e-5)


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_equal_and_zero_embeddings_have_a_finite_gradient(value: float) -> None:
    embeddings = paddle.full([4, 3], value)
    embeddings.stop_gradient = False
    loss = TripletAngularMarginLoss().triplets(embeddings, paddle.to_tensor([0, 0, 1, 1]))
    loss.backward()
    assert np.isfinite(loss.item()) and np.isfinite(embeddings.grad.numpy()).all()


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_low_precision_is_computed_in_float32(dtype: str) -> None:
    embeddings = paddle.randn([4, 8]).astype(dtype)
    loss, labels = TripletAngularMarginLoss(), paddle.to_tensor([0, 0, 1, 1])
    assert (
        loss.triplets(embeddings, labels).item()
        == loss.triplets(embeddings.astype("float32"), labels).item()
    )


def test_a_nan_stays_visible() -> None:
    """NaN shows in the cross entropy; the minimum and maximum of the triplets ignore it."""
    embeddings = np.ones((4, 3), dtype="float32")
    embeddings[2, 1] = np.nan
    loss, tensor = TripletAngularMarginLoss(), paddle.to_tensor(embeddings)
    scores = loss.build_head(embedding_dim=3, num_classes=2)(tensor)
    assert np.isnan(loss.objective(scores, paddle.to_tensor([0, 0, 1, 1]), tensor).item())


@pytest.mark.parametrize(
    "options", [{"absolute_weight": -1.0}, {"label_smoothing": 1.5}, {"margin": -0.5}]
)
def test_impossible_options_are_refused(options: dict[str, float]) -> None:
    with pytest.raises(UsageError, match=str(next(iter(options.values())))):
        TripletAngularMarginLoss(**options)
