"""How well log-likelihood ratios are calibrated: the cost of trusting them as they are.

A log-likelihood ratio is natural, positive where the same speaker is likelier. Trials and errors
are as in :func:`vprtrain.scoring.metrics.operating_points`.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from vprtrain.scoring.metrics import OperatingPoints, check_trials, convex_hull, cost_weights


def actual_dcf(
    llrs: ArrayLike,
    labels: ArrayLike,
    p_target: float = 0.01,
    c_miss: float = 1.0,
    c_fa: float = 1.0,
) -> float:
    """The detection cost at the threshold that Bayes' rule gives, over that of the better trivial
    decision.

    The threshold is ``log(c_fa (1 - p_target) / (c_miss p_target))``; the cost is never below
    minDCF, and may exceed 1. ``ValueError`` for a prior outside (0, 1) or a cost of 0.
    """
    miss_weight, accept_weight = cost_weights(p_target, c_miss, c_fa)
    values, same = check_trials(llrs, labels)
    accepted = values >= np.log(accept_weight / miss_weight)
    cost = miss_weight * np.mean(~accepted[same]) + accept_weight * np.mean(accepted[~same])
    return float(cost / min(miss_weight, accept_weight))


def cllr(llrs: ArrayLike, labels: ArrayLike) -> float:
    """The log-likelihood-ratio cost in bits: 0 is perfect, 1 what always saying 0 costs.

    Brümmer and du Preez, "Application-independent evaluation of speaker detection" (2006):
    ``(mean over targets of log2(1 + exp(-llr)) + mean over non-targets of log2(1 + exp(llr))) /
    2``.
    """
    values, same = check_trials(llrs, labels)
    targets, nontargets = np.logaddexp(0, -values[same]), np.logaddexp(0, values[~same])
    return float((targets.mean() + nontargets.mean()) / (2 * np.log(2)))


class _Segments(NamedTuple):
    """The hull's segments: the share of each class whose scores fall into them, float64
    ``[segments]``."""

    targets: np.ndarray
    nontargets: np.ndarray


def min_cllr(points: OperatingPoints) -> float:
    """The lowest :func:`cllr` that any non-decreasing calibration of these scores reaches.

    The best one gives all scores of a segment of the ROC's convex hull the likelihood ratio of its
    classes (pool-adjacent-violators; Brümmer and du Preez 2006).
    """
    hull = convex_hull(points)
    segments = _Segments(
        np.diff(hull.misses) / hull.targets, -np.diff(hull.false_accepts) / hull.nontargets
    )
    both = segments.targets + segments.nontargets
    return float(sum(_bits(share, both) for share in segments) / 2)


def _bits(share: np.ndarray, both: np.ndarray) -> float:
    """The sum of ``share log2(both / share)``, where nothing costs nothing."""
    some = share > 0
    return float(np.sum(share[some] * np.log2(both[some] / share[some])))
