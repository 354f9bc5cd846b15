from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from vprtrain.errors import RunError
from vprtrain.scoring.metrics import (
    ScoringWarning,
    compute_eer,
    compute_min_dcf,
    convex_hull,
    det_points,
    effective_prior,
    equal_error_rate,
    min_cost,
)
from vprtrain.scoring.thresholds import at_false_accept_rate, at_threshold, operating_points

pytestmark = pytest.mark.filterwarnings("ignore::vprtrain.scoring.metrics.ScoringWarning")

# With few distinct values ties are frequent, with floats they are rare.
scores_and_labels = st.lists(
    st.tuples(st.one_of(st.integers(-3, 3).map(float), st.floats(-2, 2)), st.booleans()),
    min_size=2,
    max_size=40,
).filter(lambda trials: len({label for _, label in trials}) == 2)


def brute_force_points(trials: list[tuple[float, bool]]) -> list[tuple[float, float, float]]:
    """(threshold, miss rate, false accept rate), counted; accepted if score >= threshold."""
    targets = [score for score, label in trials if label]
    nontargets = [score for score, label in trials if not label]
    thresholds = [*sorted({score for score, _ in trials}), float("inf")]
    return [
        (
            threshold,
            sum(score < threshold for score in targets) / len(targets),
            sum(score >= threshold for score in nontargets) / len(nontargets),
        )
        for threshold in thresholds
    ]


def brute_force_eer(trials: list[tuple[float, bool]]) -> float:
    points = brute_force_points(trials)
    for (_, miss, accept), (_, next_miss, next_accept) in pairwise(points):
        if next_miss >= next_accept:
            before, after = accept - miss, next_miss - next_accept
            return miss + before / (before + after) * (next_miss - miss)
    raise AssertionError("at an infinite threshold everything is missed")


@given(trials=scores_and_labels)
def test_eer_equals_the_brute_force(trials: list[tuple[float, bool]]) -> None:
    scores, labels = zip(*trials, strict=True)
    eer, threshold = compute_eer(scores, labels)
    assert eer == pytest.approx(brute_force_eer(trials), abs=1e-12)
    assert min(scores) <= threshold <= max(scores)


@given(trials=scores_and_labels)
def test_the_threshold_lies_at_the_crossing(trials: list[tuple[float, bool]]) -> None:
    """Below the threshold the false accept rate is higher, above it the miss rate is."""
    scores, labels = zip(*trials, strict=True)
    _, threshold = compute_eer(scores, labels)
    points = brute_force_points(trials)
    below = [point for point in points if point[0] < threshold]
    above = [point for point in points if point[0] > threshold]
    assert all(miss <= accept for _, miss, accept in below)
    assert all(miss >= accept for _, miss, accept in above)


@given(
    trials=scores_and_labels,
    p_target=st.floats(0.001, 0.999),
    c_miss=st.floats(0.1, 10),
    c_fa=st.floats(0.1, 10),
)
def test_min_dcf_equals_the_brute_force(
    trials: list[tuple[float, bool]], p_target: float, c_miss: float, c_fa: float
) -> None:
    scores, labels = zip(*trials, strict=True)
    costs = [
        c_miss * p_target * miss + c_fa * (1 - p_target) * accept
        for _, miss, accept in brute_force_points(trials)
    ]
    expected = min(costs) / min(c_miss * p_target, c_fa * (1 - p_target))
    cost = compute_min_dcf(scores, labels, p_target=p_target, c_miss=c_miss, c_fa=c_fa)
    assert cost == pytest.approx(expected, rel=1e-12)
    assert cost <= 1 + 1e-12


@given(trials=scores_and_labels)
def test_the_order_and_scale_of_scores_do_not_matter(trials: list[tuple[float, bool]]) -> None:
    scores, labels = map(np.array, zip(*trials, strict=True))
    stretched = 4 * scores + 2
    assume(len(np.unique(stretched)) == len(np.unique(scores)))
    assert compute_eer(stretched, labels)[0] == compute_eer(scores, labels)[0]
    assert compute_min_dcf(stretched[::-1], labels[::-1]) == compute_min_dcf(scores, labels)


@pytest.mark.parametrize(
    ("scores", "labels", "eer", "threshold"),
    [
        ([0.9, 0.8, 0.2, 0.1], [1, 1, 0, 0], 0.0, 0.8),
        ([0.1, 0.2, 0.8, 0.9], [1, 1, 0, 0], 1.0, None),
        ([0.5, 0.5], [1, 0], 0.5, 0.5),
        ([0.9, 0.4, 0.6, 0.1], [1, 1, 0, 0], 0.5, None),
        ([3.0, 1.0, 2.0, 0.0, 0.0], [1, 1, 0, 0, 0], 1 / 3, 5 / 3),
    ],
)
def test_eer_of_cases_worked_out_by_hand(
    scores: list[float], labels: list[int], eer: float, threshold: float | None
) -> None:
    found, found_threshold = compute_eer(scores, labels)
    assert found == pytest.approx(eer)
    assert threshold is None or found_threshold == pytest.approx(threshold)


def test_min_dcf_of_a_case_worked_out_by_hand() -> None:
    # One of two targets is above every non-target: half the targets missed, no false accept.
    assert compute_min_dcf([0.9, 0.1, 0.5, 0.4], [1, 1, 0, 0]) == pytest.approx(0.5)


def test_the_points_run_from_accepting_all_to_none() -> None:
    points = operating_points([0.3, 0.1, 0.3, 0.2], [True, False, False, True])
    assert points.thresholds.tolist() == [0.1, 0.2, 0.3, np.inf]
    assert points.misses.tolist() == [0, 0, 1, 2]
    assert points.false_accepts.tolist() == [2, 1, 1, 0]


@pytest.mark.parametrize(
    ("scores", "labels", "message"),
    [
        ([0.1, np.nan], [0, 1], "1 of 2 scores are not finite"),
        ([np.inf, -np.inf], [0, 1], "2 of 2 scores are not finite"),
        ([0.1, 0.2], [1, 1], "2 target and 0 non-target"),
        ([0.1, 0.2], [0, 0], "0 target and 2 non-target"),
        ([], [], "0 target and 0 non-target"),
        ([0.1, 0.2], [0, 2], "expected labels 1"),
        ([0.1, 0.2], [0, 1, 1], "as many labels as scores"),
    ],
)
def test_invalid_scores_and_labels_are_refused(
    scores: list[float], labels: list[int], message: str
) -> None:
    for compute in (compute_eer, compute_min_dcf):
        with pytest.raises(RunError, match=message):
            compute(scores, labels)


@pytest.mark.parametrize(
    "arguments", [{"p_target": 0.0}, {"p_target": 1.0}, {"c_miss": 0.0}, {"c_fa": -1.0}]
)
def test_costs_out_of_range_are_refused(arguments: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="p_target"):
        compute_min_dcf([0.1, 0.2], [0, 1], **arguments)


def random_trials(number: int) -> list[tuple[float, bool]]:
    """One of several kinds of list, by the number's remainder: few trials, constant scores, ties,
    swapped labels, many trials."""
    rng = np.random.default_rng(number)
    kind = number % 5
    counts = rng.integers(1, 4, size=2) if kind in (0, 1) else rng.integers(1, 60, size=2)
    labels = np.repeat([True, False], counts)
    scores = rng.normal(size=len(labels)) + labels * rng.uniform(0, 3)
    if kind == 1:
        scores[:] = rng.normal()
    elif kind == 2:
        scores = np.round(scores, int(rng.integers(0, 2)))
    elif kind == 3:
        scores = -scores
    return [(float(score), bool(label)) for score, label in zip(scores, labels, strict=True)]


def brute_force_hull_eer(trials: list[tuple[float, bool]]) -> float:
    """The lowest equal error rate of random choices between any two operating points."""
    points = brute_force_points(trials)
    best = 1.0
    for _, miss, accept in points:
        for _, other_miss, other_accept in points:
            before, after = accept - miss, other_miss - other_accept
            if before >= 0 and after >= 0:
                part = before / (before + after) if before + after else 0.0
                best = min(best, miss + part * (other_miss - miss))
    return best


@pytest.mark.parametrize("number", range(200))
def test_everything_equals_the_brute_force_on_200_lists(number: int) -> None:
    trials = random_trials(number)
    scores, labels = zip(*trials, strict=True)
    points, counted = operating_points(scores, labels), brute_force_points(trials)
    assert points.thresholds.tolist() == [threshold for threshold, _, _ in counted]
    assert points.miss_rates == pytest.approx([miss for _, miss, _ in counted], abs=1e-15)
    assert points.false_accept_rates == pytest.approx(
        [accept for _, _, accept in counted], abs=1e-15
    )
    assert compute_eer(scores, labels)[0] == pytest.approx(brute_force_eer(trials), abs=1e-12)
    assert equal_error_rate(convex_hull(points))[0] == pytest.approx(
        brute_force_hull_eer(trials), abs=1e-12
    )
    for p_target, c_miss, c_fa in ((0.01, 1, 1), (0.05, 1, 1), (0.5, 10, 1)):
        costs = [
            c_miss * p_target * miss + c_fa * (1 - p_target) * accept for _, miss, accept in counted
        ]
        trivial = min(c_miss * p_target, c_fa * (1 - p_target))
        cost, at = min_cost(points, p_target, c_miss, c_fa)
        assert cost == pytest.approx(min(costs) / trivial, rel=1e-12)
        reached = c_miss * p_target * at.miss_rate + c_fa * (1 - p_target) * at.false_accept_rate
        assert reached / trivial == pytest.approx(cost, rel=1e-12)
        assert at_threshold(points, at.threshold) == at
        assert min_cost(points, effective_prior(p_target, c_miss, c_fa)).cost == pytest.approx(
            cost, rel=1e-12
        )
        assert min_cost(convex_hull(points), p_target, c_miss, c_fa).cost == pytest.approx(
            cost, rel=1e-12
        )


@given(trials=scores_and_labels, rate=st.floats(0, 1))
def test_the_threshold_for_a_false_accept_rate_has_the_fewest_misses(
    trials: list[tuple[float, bool]], rate: float
) -> None:
    scores, labels = map(np.array, zip(*trials, strict=True))
    found = at_false_accept_rate(operating_points(scores, labels), rate)
    assert np.isfinite(found.threshold)
    assert np.mean(scores[~labels] >= found.threshold) == pytest.approx(found.false_accept_rate)
    assert found.false_accept_rate <= rate
    assert np.mean(scores[labels] < found.threshold) == pytest.approx(found.miss_rate)
    lower = scores[scores < found.threshold]
    assert all(np.mean(scores[~labels] >= threshold) > rate for threshold in lower)


def test_swapped_labels_give_a_warning() -> None:
    with pytest.warns(
        ScoringWarning, match=r"the EER is 100\.00 %, worse than chance: are the labels swapped"
    ):
        assert compute_eer([0.1, 0.2, 0.8, 0.9], [1, 1, 0, 0])[0] == 1


def test_the_det_curve_is_a_line_for_normal_scores() -> None:
    rng = np.random.default_rng(0)
    labels = np.arange(200_000) % 2
    accepts, misses = det_points(
        operating_points(rng.normal(size=len(labels)) + 2 * labels, labels), 100
    )
    assert len(accepts) == len(misses) == 100
    assert np.all(np.diff(misses) >= 0) and np.all(np.diff(accepts) <= 0)
    middle = np.maximum(np.abs(misses), np.abs(accepts)) < 2
    assert misses[middle] + accepts[middle] == pytest.approx(-2, abs=0.1)


def test_classes_that_do_not_overlap_have_no_det_curve() -> None:
    accepts, misses = det_points(operating_points([0.0, 1.0], [0, 1]))
    assert len(accepts) == len(misses) == 0


@pytest.mark.parametrize("rate", [-0.1, 1.1, float("nan")])
def test_false_accept_rates_out_of_range_are_refused(rate: float) -> None:
    with pytest.raises(ValueError, match="false accept rate"):
        at_false_accept_rate(operating_points([0.1, 0.2], [0, 1]), rate)
