"""Metrics of a list of scores: equal error rate and detection cost, with their thresholds.

Every metric is computed from the operating points of the rule "accept at score >= threshold". There
is one for each distinct score, and one above all scores, at which nothing is accepted.
:func:`operating_points` sorts the scores once; functions of :class:`OperatingPoints` do not sort.
All metrics are in this one file because they share the operating points.
"""

from __future__ import annotations

import warnings
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import ndtri

from vprtrain.errors import RunError


class ScoringError(RunError, ValueError):
    """The metrics of scores cannot be computed."""


class ScoringWarning(UserWarning):
    """The metrics of scores can be computed, but the scores are probably wrong."""


class OperatingPoints(NamedTuple):
    """The numbers of errors at every threshold, by ascending threshold."""

    thresholds: np.ndarray
    """float64 ``[points]``; the last one is infinite."""
    misses: np.ndarray
    """int64 ``[points]``: target trials below the threshold."""
    false_accepts: np.ndarray
    """int64 ``[points]``: non-target trials at or above the threshold."""
    targets: int
    """The number of target trials."""
    nontargets: int
    """The number of non-target trials."""

    @property
    def miss_rates(self) -> np.ndarray:
        """float64 ``[points]``, rising."""
        return self.misses / self.targets

    @property
    def false_accept_rates(self) -> np.ndarray:
        """float64 ``[points]``, falling."""
        return self.false_accepts / self.nontargets

    def take(self, places: np.ndarray) -> OperatingPoints:
        """The points at these indices."""
        return self._replace(
            thresholds=self.thresholds[places],
            misses=self.misses[places],
            false_accepts=self.false_accepts[places],
        )


class OperatingPoint(NamedTuple):
    """A threshold and the error rates of decisions by it."""

    threshold: float
    """Finite: to accept nothing, it is the next float above the highest score."""
    miss_rate: float
    false_accept_rate: float


class MinCost(NamedTuple):
    """The lowest detection cost and its operating point."""

    cost: float
    """Normalised by the cost of the better trivial decision."""
    at: OperatingPoint


def operating_points(scores: ArrayLike, labels: ArrayLike) -> OperatingPoints:
    """All operating points of a list of scores.

    Args:
        scores: ``[trials]``.
        labels: ``[trials]``, true or 1 for target trials (the same speaker), else false or 0.

    Raises:
        ScoringError: a score is not finite, a label is not 0 or 1, or all labels are equal.
    """
    values, same = check_trials(scores, labels)
    # Two sorts of values are several times faster than an argsort and a gather of the labels.
    ascending, targets = np.sort(values), np.sort(values[same])
    firsts = run_starts(ascending)
    distinct = ascending[firsts]
    misses = np.zeros(len(distinct) + 1, dtype=np.int64)
    np.cumsum(
        np.bincount(np.searchsorted(distinct, targets), minlength=len(distinct)), out=misses[1:]
    )
    nontargets = len(values) - len(targets)
    return OperatingPoints(
        thresholds=np.append(distinct, np.inf),
        misses=misses,
        false_accepts=nontargets - (np.append(firsts, len(values)) - misses),
        targets=len(targets),
        nontargets=nontargets,
    )


def check_trials(scores: ArrayLike, labels: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """The scores as float64 ``[trials]`` and the labels as bool ``[trials]``.

    Raises:
        ScoringError: as in :func:`operating_points`.
    """
    values, flags = np.asarray(scores, dtype=np.float64), np.asarray(labels)
    if values.ndim != 1 or values.shape != flags.shape:
        raise ScoringError(
            f"expected as many labels as scores, found shapes {flags.shape} and {values.shape}"
        )
    if not np.isfinite(values).all():
        raise ScoringError(
            f"{np.count_nonzero(~np.isfinite(values))} of {len(values)} scores are not finite; a "
            "model whose weights are not finite gives such scores"
        )
    if flags.dtype != np.bool_ and not np.isin(flags, (0, 1)).all():
        raise ScoringError(
            f"expected labels 1 (same speaker) and 0, found {np.unique(flags)[:5].tolist()}"
        )
    same = flags.astype(bool)
    targets = int(np.count_nonzero(same))
    if targets in (0, len(same)):
        raise ScoringError(
            f"expected trials of both kinds, found {targets} target and {len(same) - targets} "
            "non-target trials"
        )
    return values, same


def run_starts(ascending: np.ndarray) -> np.ndarray:
    """The index at which each run of equal values starts, int64 ``[runs]``.

    The values are ascending and finite, at least one.
    """
    return np.flatnonzero(np.concatenate([[True], ascending[1:] != ascending[:-1]]))


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
    return MinCost(
        float(costs[place] / min(miss_weight, accept_weight)), _operating_point(points, place)
    )


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


def at_false_accept_rate(points: OperatingPoints, rate: float) -> OperatingPoint:
    """The lowest threshold with at most this false accept rate.

    Raises:
        ValueError: ``rate`` is not from 0 to 1.
    """
    if not 0 <= rate <= 1:
        raise ValueError(f"expected a false accept rate from 0 to 1, found {rate}")
    return _operating_point(points, int(np.argmax(points.false_accept_rates <= rate)))


def at_threshold(points: OperatingPoints, threshold: float) -> OperatingPoint:
    """The error rates of decisions by this threshold."""
    found = _operating_point(points, int(np.searchsorted(points.thresholds, threshold)))
    return found._replace(threshold=threshold)


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


def _operating_point(points: OperatingPoints, place: int) -> OperatingPoint:
    threshold = points.thresholds[place]
    if np.isinf(threshold):
        threshold = np.nextafter(points.thresholds[place - 1], np.inf)
    return OperatingPoint(
        float(threshold),
        float(points.misses[place] / points.targets),
        float(points.false_accepts[place] / points.nontargets),
    )
