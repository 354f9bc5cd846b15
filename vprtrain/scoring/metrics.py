"""Metrics of a list of scores: equal error rate and detection cost, with their thresholds.

Every metric is computed from :class:`vprtrain.scoring.thresholds.OperatingPoints`. Only
:func:`compute_eer` and :func:`compute_min_dcf` take scores, which they sort.
"""

from __future__ import annotations

import warnings
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import ndtri

from vprtrain.scoring.thresholds import OperatingPoint, OperatingPoints, operating_points


class ScoringWarning(UserWarning):
    """The metrics of scores can be computed, but the scores are probably wrong."""


class MinCost(NamedTuple):
    """The lowest detection cost and its operating point."""

    cost: float
    """Normalised by the cost of the better trivial decision."""
    at: OperatingPoint


def equal_error_rate(points: OperatingPoints) -> tuple[float, float]:
    """The equal error rate (a fraction) and its threshold.

    As the threshold rises, the miss rate rises and the false accept rate falls. Between the two
    operating points around their crossing, both rates and the threshold are interpolated linearly.
    """
    # The difference of the rates, times both class sizes. It is an integer, so exactly 0 where the
    # rates are equal.
    balance = points.misses * points.nontargets - points.false_accepts * points.targets
    # At least 1: the first balance is negative, since the lowest threshold accepts everything.
    after = int(np.searchsorted(balance, 0))
    before = after - 1
    fraction = float(-balance[before] / (balance[after] - balance[before]))
    misses = points.misses[before] + fraction * (points.misses[after] - points.misses[before])
    low, high = points.thresholds[before], points.thresholds[after]
    threshold = min(low + fraction * (high - low), high) if np.isfinite(high) else low
    return float(misses / points.targets), float(threshold)


def convex_hull(points: OperatingPoints) -> OperatingPoints:
    """The operating points on the convex hull of the ROC (ROCCH), by pool-adjacent-violators.

    Random choices between the decisions of two neighbouring points reach every point between them.
    The equal error rate of the hull is the convex-hull EER, at most 0.5. For every prior, the
    minDCF of the hull is that of all points. Brümmer and du Preez, "The PAV algorithm optimizes
    binary proper scoring rules" (2013), section 6.
    """
    from scipy.optimize import isotonic_regression  # a late import, as it takes half a second

    targets, nontargets = np.diff(points.misses), -np.diff(points.false_accepts)
    trials = targets + nontargets
    return points.take(isotonic_regression(targets / trials, weights=trials).blocks)


def min_cost(
    points: OperatingPoints, p_target: float = 0.01, c_miss: float = 1.0, c_fa: float = 1.0
) -> MinCost:
    """The lowest detection cost of any threshold, normalised by the better trivial decision.

    The formula of the NIST SREs, at most 1: ``min(c_miss p_target P_miss + c_fa (1 - p_target)
    P_fa) / min(c_miss p_target, c_fa (1 - p_target))``.

    Raises:
        ValueError: ``p_target`` is not between 0 and 1, or a cost is not above 0.
    """
    miss_weight, accept_weight = cost_weights(p_target, c_miss, c_fa)
    costs = (
        miss_weight * points.misses / points.targets
        + accept_weight * points.false_accepts / points.nontargets
    )
    place = int(costs.argmin())
    return MinCost(float(costs[place] / min(miss_weight, accept_weight)), points.point(place))


def cost_weights(p_target: float, c_miss: float, c_fa: float) -> tuple[float, float]:
    """The costs of a miss rate of 1, ``c_miss p_target``, and of a false accept rate of 1,
    ``c_fa (1 - p_target)``.

    Raises:
        ValueError: as in :func:`min_cost`.
    """
    if not 0 < p_target < 1 or c_miss <= 0 or c_fa <= 0:
        raise ValueError(
            f"expected 0 < p_target < 1 and costs above 0, found {p_target=}, {c_miss=}, {c_fa=}"
        )
    return c_miss * p_target, c_fa * (1 - p_target)


def effective_prior(p_target: float, c_miss: float, c_fa: float) -> float:
    """The prior that gives the same normalised costs if both errors cost 1.

    Raises:
        ValueError: as in :func:`min_cost`.
    """
    miss_weight, accept_weight = cost_weights(p_target, c_miss, c_fa)
    return miss_weight / (miss_weight + accept_weight)


def det_points(points: OperatingPoints, count: int = 2000) -> tuple[np.ndarray, np.ndarray]:
    """The DET curve (Martin et al. 1997): the probits of false accept rates and of miss rates.

    Points with a rate of 0 or 1 have no finite probit and are left out. Of the others at most
    ``count`` are returned, evenly spaced along the curve. It is empty if the classes do not
    overlap.

    Returns:
        float64 ``[at most count]`` each.
    """
    inside = (points.misses > 0) & (points.misses < points.targets)
    inside &= (points.false_accepts > 0) & (points.false_accepts < points.nontargets)
    curve = points.take(np.flatnonzero(inside))
    accepts, misses = ndtri(curve.false_accept_rates), ndtri(curve.miss_rates)
    if len(misses) > count:
        along = misses - accepts  # never falls
        places = np.searchsorted(along, np.linspace(along[0], along[-1], count))
        accepts, misses = accepts[places], misses[places]
    return accepts, misses


def compute_eer(scores: ArrayLike, labels: ArrayLike) -> tuple[float, float]:
    """The equal error rate (a fraction) and its threshold, of a list of scores.

    It is :func:`equal_error_rate` of :func:`operating_points`, which explain arguments and errors.
    A :class:`ScoringWarning` is given if the rate is above 0.5.
    """
    eer, threshold = equal_error_rate(operating_points(scores, labels))
    warn_if_swapped(eer)
    return eer, threshold


def compute_min_dcf(
    scores: ArrayLike,
    labels: ArrayLike,
    p_target: float = 0.01,
    c_miss: float = 1.0,
    c_fa: float = 1.0,
) -> float:
    """The cost of :func:`min_cost`, of the :func:`operating_points` of a list of scores."""
    cost_weights(p_target, c_miss, c_fa)  # refuse wrong costs before the slow sort
    return min_cost(operating_points(scores, labels), p_target, c_miss, c_fa).cost


def warn_if_swapped(eer: float) -> None:
    """Give a :class:`ScoringWarning` if the opposite decisions would be better."""
    if eer > 0.5:
        warnings.warn(
            f"the EER is {100 * eer:.2f} %, worse than chance: are the labels swapped, or are the "
            "scores distances?",
            ScoringWarning,
            stacklevel=3,
        )
