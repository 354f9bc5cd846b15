"""What a list of scores is worth: equal error rate, detection cost, and the thresholds that reach
them.

All of it looks at the operating points of "accept at score >= threshold": one for each distinct
score, and one above them all at which nothing is accepted. :func:`operating_points` sorts the
scores once; what takes :class:`OperatingPoints` only reads them.
"""

from __future__ import annotations

import warnings
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import ndtri

from vprtrain.errors import RunError


class ScoringError(RunError, ValueError):
    """Scores that cannot be rated."""


class ScoringWarning(UserWarning):
    """Scores that can be rated, but hardly as they were meant."""


class OperatingPoints(NamedTuple):
    """The errors at every threshold, the thresholds ascending."""

    thresholds: np.ndarray
    """float64 ``[points]``; the last is infinite"""
    misses: np.ndarray
    """int64 ``[points]``: targets below the threshold"""
    false_accepts: np.ndarray
    """int64 ``[points]``: non-targets at the threshold or above"""
    targets: int
    nontargets: int

    @property
    def miss_rates(self) -> np.ndarray:
        """float64 ``[points]``, rising."""
        return self.misses / self.targets

    @property
    def false_accept_rates(self) -> np.ndarray:
        """float64 ``[points]``, falling."""
        return self.false_accepts / self.nontargets

    def take(self, places: np.ndarray) -> OperatingPoints:
        """These of the points only."""
        return self._replace(
            thresholds=self.thresholds[places],
            misses=self.misses[places],
            false_accepts=self.false_accepts[places],
        )


class OperatingPoint(NamedTuple):
    """A threshold and what deciding by it would have cost."""

    threshold: float
    """finite: accepting nothing is the number next above the highest score"""
    miss_rate: float
    false_accept_rate: float


class MinCost(NamedTuple):
    """The lowest detection cost and where it lies."""

    cost: float
    """over that of the better trivial decision"""
    at: OperatingPoint


def operating_points(scores: ArrayLike, labels: ArrayLike) -> OperatingPoints:
    """All operating points of scores ``[trials]`` with labels ``[trials]`` (true or 1: the same
    speaker).

    Raises :class:`ScoringError` for scores that are not finite, labels other than 0 and 1, and a
    single class.
    """
    values, same = check_trials(scores, labels)
    # Sorting values is several times faster than finding their order and gathering the labels by
    # it.
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
    """The scores as float64 ``[trials]`` and the labels as bool ``[trials]``; errors of
    :func:`operating_points`."""
    values, flags = np.asarray(scores, dtype=np.float64), np.asarray(labels)
    if values.ndim != 1 or values.shape != flags.shape:
        raise ScoringError(
            f"expected as many labels as scores, found shapes {flags.shape} and {values.shape}"
        )
    if not np.isfinite(values).all():
        raise ScoringError(
            f"{np.count_nonzero(~np.isfinite(values))} of {len(values)} scores are not finite numbers; "
            "a model whose weights are not finite gives such scores"
        )
    if flags.dtype != np.bool_ and not np.isin(flags, (0, 1)).all():
        raise ScoringError(
            f"expected labels 1 (same speaker) and 0, found {np.unique(flags)[:5].tolist()}"
        )
    same = flags.astype(bool)
    targets = int(np.count_nonzero(same))
    if targets in (0, len(same)):
        raise ScoringError(
            f"expected trials of both kinds, found {targets} target and {len(same) - targets} non-target trials"
        )
    return values, same


def run_starts(ascending: np.ndarray) -> np.ndarray:
    """int64 ``[runs]``: where each run of equal values starts; finite values, at least one."""
    return np.flatnonzero(np.concatenate([[True], ascending[1:] != ascending[:-1]]))


def equal_error_rate(points: OperatingPoints) -> tuple[float, float]:
    """The equal error rate (a fraction) and its threshold.

    Misses grow and false accepts fall with the threshold; the rate lies where the straight lines
    between the two operating points around their crossing meet, the threshold as far between those
    two thresholds.
    """
    # Times both class sizes, which makes whole numbers: where the rates are equal, the balance is
    # exactly 0.
    balance = points.misses * points.nontargets - points.false_accepts * points.targets
    # at least 1: at the lowest threshold everything is accepted
    after = int(np.searchsorted(balance, 0))
    before = after - 1
    part = float(-balance[before] / (balance[after] - balance[before]))
    misses = points.misses[before] + part * (points.misses[after] - points.misses[before])
    low, high = points.thresholds[before], points.thresholds[after]
    threshold = min(low + part * (high - low), high) if np.isfinite(high) else low
    return float(misses / points.targets), float(threshold)


def convex_hull(points: OperatingPoints) -> OperatingPoints:
    """The operating points on the convex hull of the ROC (ROCCH), by pool-adjacent-violators.

    Whatever lies between two of them is reached by tossing a coin between their decisions. The
    equal error rate of these points is the convex-hull EER, at most 0.5, and no prior has a lower
    minDCF on other points. Brümmer and du Preez, "The PAV algorithm optimizes binary proper scoring
    rules" (2013), section 6.
    """
    from scipy.optimize import (
        isotonic_regression,  # takes half a second; not everybody who scores needs it
    )

    targets, nontargets = np.diff(points.misses), -np.diff(points.false_accepts)
    trials = targets + nontargets
    return points.take(isotonic_regression(targets / trials, weights=trials).blocks)


def min_cost(
    points: OperatingPoints, p_target: float = 0.01, c_miss: float = 1.0, c_fa: float = 1.0
) -> MinCost:
    """The lowest detection cost of any threshold, over that of the better trivial decision (NIST
    SRE).

    ``min(c_miss p_target P_miss + c_fa (1 - p_target) P_fa) / min(c_miss p_target, c_fa (1 -
    p_target))``: at most 1. ``ValueError`` for a prior outside (0, 1) or a cost of 0.
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
    """What a miss rate and a false accept rate of 1 cost: ``c_miss p_target`` and ``c_fa (1 -
    p_target)``."""
    if not 0 < p_target < 1 or c_miss <= 0 or c_fa <= 0:
        raise ValueError(
            f"expected 0 < p_target < 1 and costs above 0, not {p_target=}, {c_miss=}, {c_fa=}"
        )
    return c_miss * p_target, c_fa * (1 - p_target)


def effective_prior(p_target: float, c_miss: float, c_fa: float) -> float:
    """The prior that has the same normalised costs where both errors cost 1; ``ValueError`` as
    :func:`min_cost`."""
    miss_weight, accept_weight = cost_weights(p_target, c_miss, c_fa)
    return miss_weight / (miss_weight + accept_weight)


def at_false_accept_rate(points: OperatingPoints, rate: float) -> OperatingPoint:
    """The lowest threshold that accepts at most this share (0 to 1) of the non-targets."""
    if not 0 <= rate <= 1:
        raise ValueError(f"expected a false accept rate from 0 to 1, not {rate}")
    return _operating_point(points, int(np.argmax(points.false_accept_rates <= rate)))


def at_threshold(points: OperatingPoints, threshold: float) -> OperatingPoint:
    """What deciding by this threshold would have cost."""
    found = _operating_point(points, int(np.searchsorted(points.thresholds, threshold)))
    return found._replace(threshold=threshold)


def det_points(points: OperatingPoints, count: int = 2000) -> tuple[np.ndarray, np.ndarray]:
    """The DET curve (Martin et al. 1997): probits of false accept and miss rates, float64 ``[at
    most count]`` each.

    Points at which either rate is 0 or 1 have no place on it; of the others ``count`` at most,
    evenly along the curve, as a page shows no more. Empty where the classes do not overlap.
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
    """:func:`equal_error_rate` of :func:`operating_points`; a :class:`ScoringWarning` where it is
    above 0.5."""
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
    """The cost of :func:`min_cost` of :func:`operating_points`."""
    cost_weights(p_target, c_miss, c_fa)  # before anything is sorted
    return min_cost(operating_points(scores, labels), p_target, c_miss, c_fa).cost


def warn_if_swapped(eer: float) -> None:
    """Warn where deciding the other way round would be better."""
    if eer > 0.5:
        warnings.warn(
            f"the EER is {100 * eer:.2f} %, worse than chance: are the labels swapped, or the scores distances?",
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
