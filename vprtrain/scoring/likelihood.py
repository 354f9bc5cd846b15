"""The calibration of log-likelihood ratios: the cost of using them without a further calibration.

Log-likelihood ratios are natural logarithms, positive if the same speaker is more likely. Labels
and errors are those of :func:`vprtrain.scoring.thresholds.operating_points`.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from vprtrain.scoring.metrics import convex_hull, cost_weights
from vprtrain.scoring.thresholds import OperatingPoints, check_trials


def actual_dcf(
    llrs: ArrayLike,
    labels: ArrayLike,
    p_target: float = 0.01,
    c_miss: float = 1.0,
    c_fa: float = 1.0,
) -> float:
    """The normalised detection cost at the threshold of Bayes' rule.

    The threshold is ``log(c_fa (1 - p_target) / (c_miss p_target))``. The cost is normalised by the
    better trivial decision. It is never below minDCF, and may exceed 1.

    Raises:
        ScoringError: as in :func:`vprtrain.scoring.thresholds.operating_points`.
        ValueError: ``p_target`` is not between 0 and 1, or a cost is not above 0.
    """
    miss_weight, accept_weight = cost_weights(p_target, c_miss, c_fa)
    values, same = check_trials(llrs, labels)
    accepted = values >= np.log(accept_weight / miss_weight)
    cost = miss_weight * np.mean(~accepted[same]) + accept_weight * np.mean(accepted[~same])
    return float(cost / min(miss_weight, accept_weight))


def cllr(llrs: ArrayLike, labels: ArrayLike) -> float:
    """The log-likelihood-ratio cost in bits: 0 is perfect, 1 is the cost of ratios that are all 0.

    Brümmer and du Preez, "Application-independent evaluation of speaker detection" (2006):
    ``(mean over targets of log2(1 + exp(-llr)) + mean over non-targets of log2(1 + exp(llr))) /
    2``.
    """
    values, same = check_trials(llrs, labels)
    targets, nontargets = np.logaddexp(0, -values[same]), np.logaddexp(0, values[~same])
    return float((targets.mean() + nontargets.mean()) / (2 * np.log(2)))


class _Segments(NamedTuple):
    """The share of the trials of each class in each segment of the hull, float64 ``[segments]``."""

    targets: np.ndarray
    nontargets: np.ndarray


def min_cllr(points: OperatingPoints) -> float:
    """The lowest :func:`cllr` of any non-decreasing calibration of these scores.

    The best calibration maps all scores of one segment of the ROC's convex hull to the likelihood
    ratio of the two classes in that segment (pool-adjacent-violators; Brümmer and du Preez 2006).
    """
    hull = convex_hull(points)
    segments = _Segments(
        np.diff(hull.misses) / hull.targets, -np.diff(hull.false_accepts) / hull.nontargets
    )
    both = segments.targets + segments.nontargets
    return float(sum(_bits(share, both) for share in segments) / 2)


def _bits(share: np.ndarray, both: np.ndarray) -> float:
    """The sum of ``share log2(both / share)``; a share of 0 adds 0."""
    some = share > 0
    return float(np.sum(share[some] * np.log2(both[some] / share[some])))
