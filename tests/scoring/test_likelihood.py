from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vprtrain.errors import RunError
from vprtrain.scoring.likelihood import actual_dcf, cllr, min_cllr
from vprtrain.scoring.metrics import compute_min_dcf
from vprtrain.scoring.thresholds import operating_points

ratios_and_labels = st.lists(
    st.tuples(st.one_of(st.integers(-3, 3).map(float), st.floats(-8, 8)), st.booleans()),
    min_size=2,
    max_size=30,
).filter(lambda trials: len({label for _, label in trials}) == 2)


def brute_force_min_cllr(trials: list[tuple[float, bool]]) -> float:
    """Pool adjacent violators one score at a time, then apply the formula of :func:`cllr`."""
    targets = sum(label for _, label in trials)
    nontargets = len(trials) - targets
    blocks: list[list[int]] = []
    for value in sorted({score for score, _ in trials}):
        same = [label for score, label in trials if score == value]
        blocks.append([sum(same), len(same) - sum(same)])
        while len(blocks) > 1 and blocks[-2][0] * sum(blocks[-1]) >= blocks[-1][0] * sum(
            blocks[-2]
        ):
            last = blocks.pop()
            blocks[-1] = [blocks[-1][0] + last[0], blocks[-1][1] + last[1]]
    cost = 0.0
    for ours, others in blocks:
        ratio = (ours / targets) / (others / nontargets) if others else float("inf")
        cost += ours / targets * np.log2(1 + 1 / ratio) if ours else 0.0
        cost += others / nontargets * np.log2(1 + ratio) if others else 0.0
    return cost / 2


@given(trials=ratios_and_labels)
def test_costs_equal_their_formulas(trials: list[tuple[float, bool]]) -> None:
    llrs, labels = zip(*trials, strict=True)
    targets = [np.log2(1 + np.exp(-llr)) for llr, label in trials if label]
    nontargets = [np.log2(1 + np.exp(llr)) for llr, label in trials if not label]
    assert cllr(llrs, labels) == pytest.approx(
        (np.mean(targets) + np.mean(nontargets)) / 2, rel=1e-12
    )
    lowest = min_cllr(operating_points(llrs, labels))
    assert lowest == pytest.approx(brute_force_min_cllr(trials), abs=1e-12)
    assert lowest <= min(1.0, cllr(llrs, labels)) + 1e-12


@given(
    trials=ratios_and_labels,
    p_target=st.floats(0.001, 0.999),
    c_miss=st.floats(0.1, 10),
    c_fa=st.floats(0.1, 10),
)
def test_the_actual_cost_is_that_of_bayes_decision_and_at_least_the_lowest(
    trials: list[tuple[float, bool]], p_target: float, c_miss: float, c_fa: float
) -> None:
    llrs, labels = zip(*trials, strict=True)
    threshold = np.log(c_fa * (1 - p_target) / (c_miss * p_target))
    misses = np.mean([llr < threshold for llr, label in trials if label])
    accepts = np.mean([llr >= threshold for llr, label in trials if not label])
    expected = c_miss * p_target * misses + c_fa * (1 - p_target) * accepts
    actual = actual_dcf(llrs, labels, p_target, c_miss, c_fa)
    assert actual == pytest.approx(
        expected / min(c_miss * p_target, c_fa * (1 - p_target)), rel=1e-9
    )
    assert actual >= compute_min_dcf(llrs, labels, p_target, c_miss, c_fa) - 1e-9


def test_ratios_of_zero_cost_one_bit() -> None:
    assert cllr([0.0, 0.0, 0.0], [1, 0, 0]) == pytest.approx(1)
    assert min_cllr(operating_points([0.0, 0.0, 0.0], [1, 0, 0])) == pytest.approx(1)
    assert min_cllr(operating_points([1.0, 0.0], [1, 0])) == 0


@pytest.mark.parametrize("cost", [cllr, actual_dcf])
def test_infinite_ratios_are_refused(cost: object) -> None:
    with pytest.raises(RunError, match="1 of 2 scores are not finite"):
        cost([np.inf, 0.0], [1, 0])  # type: ignore[operator]
