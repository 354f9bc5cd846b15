"""The losses with several centres per class against their definitions in float64."""

from __future__ import annotations

import math

import numpy as np
import paddle
import pytest
from hypothesis import given, settings
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
    turned,
    value,
)

from vprtrain.errors import UsageError
from vprtrain.losses import AAMLoss, CosineHead, SubCenterInterTopKLoss, SubCenterLoss


def formula(
    cosines: np.ndarray,
    labels: np.ndarray,
    *,
    margin: float,
    scale: float,
    centers: int,
    hard: int = 0,
    penalty: float = 0.0,
    smoothing: float = 0.0,
) -> float:
    """The definition, row by row: the nearest centre of each class, the margin on the true class,
    the penalty on the hard ones."""
    angle = penalty * margin / 0.2
    logits = []
    for row, label in zip(cosines.astype("float64"), labels, strict=True):
        nearest = np.array(
            [row[start : start + centers].max() for start in range(0, len(row), centers)]
        )
        entering = nearest.copy()
        wrong = [place for place in np.argsort(-nearest) if place != label]
        for place in wrong[:hard]:
            entering[place] = math.cos(math.acos(nearest[place]) - angle)
        entering[label] = turned(nearest[label], margin)
        logits.append(scale * entering)
    return cross_entropy(np.array(logits), labels, smoothing)


@settings(deadline=None, max_examples=100)
@given(
    seed=SEEDS,
    batch=st.integers(1, 6),
    classes=st.integers(2, 12),
    centers=st.integers(1, 4),
    margin=MARGINS,
    scale=SCALES,
    smoothing=SMOOTHING,
)
def test_sub_center_equals_the_formula(
    seed: int, batch: int, classes: int, centers: int, margin: float, scale: float, smoothing: float
) -> None:
    cosines, labels = draw(seed, batch, classes * centers, classes)
    loss = SubCenterLoss(
        margin=margin, scale=scale, centers_per_class=centers, label_smoothing=smoothing
    )
    expected = formula(
        cosines, labels, margin=margin, scale=scale, centers=centers, smoothing=smoothing
    )
    assert value(loss, cosines, labels) == pytest.approx(expected, rel=1e-4, abs=1e-4)


@settings(deadline=None, max_examples=100)
@given(
    seed=SEEDS,
    batch=st.integers(1, 6),
    classes=st.integers(2, 12),
    centers=st.integers(1, 3),
    hard=st.integers(0, 14),
    penalty=st.floats(0, 0.1),
    margin=MARGINS,
    scale=SCALES,
)
def test_inter_top_k_equals_the_formula(
    seed: int,
    batch: int,
    classes: int,
    centers: int,
    hard: int,
    penalty: float,
    margin: float,
    scale: float,
) -> None:
    cosines, labels = draw(seed, batch, classes * centers, classes)
    options = {"margin": margin, "scale": scale, "penalty": penalty}
    loss = SubCenterInterTopKLoss(centers_per_class=centers, hard_classes=hard, **options)
    expected = formula(cosines, labels, centers=centers, hard=hard, **options)
    assert value(loss, cosines, labels) == pytest.approx(expected, rel=1e-4, abs=2e-4)


@pytest.mark.parametrize("hard", [0, 2])
def test_the_gradient_is_that_of_the_formula(hard: int) -> None:
    cosines, labels = draw(5, 4, 15, 5)
    loss = SubCenterInterTopKLoss(margin=0.3, scale=8.0, hard_classes=hard, label_smoothing=0.1)
    expected = numerical_gradient(
        lambda moved: formula(
            moved, labels, margin=0.3, scale=8.0, centers=3, hard=hard, penalty=0.06, smoothing=0.1
        ),
        cosines.astype("float64"),
    )
    np.testing.assert_allclose(gradient(loss, cosines, labels), expected, rtol=1e-3, atol=1e-5)


def test_one_centre_is_aam() -> None:
    cosines, labels = draw(0, 4, 7, 7)
    assert value(SubCenterLoss(centers_per_class=1), cosines, labels) == value(
        AAMLoss(), cosines, labels
    )


def test_without_hard_classes_or_margin_there_is_no_penalty() -> None:
    cosines, labels = draw(1, 4, 21, 7)
    plain = value(SubCenterLoss(), cosines, labels)
    assert value(SubCenterInterTopKLoss(hard_classes=0), cosines, labels) == plain
    assert value(SubCenterInterTopKLoss(hard_classes=2), cosines, labels) > plain
    without_margin = value(SubCenterLoss(margin=0.0), cosines, labels)
    assert value(SubCenterInterTopKLoss(margin=0.0), cosines, labels) == pytest.approx(
        without_margin, rel=1e-6
    )


def test_equal_centres_share_or_choose_but_do_not_double_the_gradient() -> None:
    cosines, labels = np.full((1, 6), 0.5), np.array([0])
    ours = gradient(SubCenterLoss(scale=4.0, centers_per_class=3), cosines, labels)
    once = gradient(AAMLoss(scale=4.0), cosines[:, ::3], labels)
    np.testing.assert_allclose(ours.reshape(1, 2, 3).sum(2), once, rtol=1e-5)


def test_the_head_has_the_centres_of_a_class_side_by_side() -> None:
    loss = SubCenterLoss(centers_per_class=3)
    head = loss.build_head(embedding_dim=4, num_classes=2)
    assert isinstance(head, CosineHead) and head.weight.shape == [4, 6]
    embeddings = 2 * head.weight.detach().t()
    np.testing.assert_array_equal(
        loss.class_scores(head(embeddings)).argmax(1).numpy(), [0, 0, 0, 1, 1, 1]
    )


def test_cosines_of_another_head_are_refused() -> None:
    with pytest.raises(UsageError, match="7 cosines, expected 3 per class: use its build_head"):
        SubCenterLoss()(paddle.zeros([2, 7]), paddle.to_tensor([0, 1]))


@pytest.mark.parametrize(
    "options", [{"centers_per_class": 0}, {"hard_classes": -1}, {"penalty": 0.3}]
)
def test_impossible_options_are_refused(options: dict[str, float]) -> None:
    with pytest.raises(UsageError, match=str(next(iter(options.values())))):
        SubCenterInterTopKLoss(**options)
