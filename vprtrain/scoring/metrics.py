"""What a list of scores is worth: equal error rate and minimum detection cost.

Both look at every operating point of "accept at score >= threshold": one for each distinct score, and one
above them all at which nothing is accepted.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from vprtrain.errors import RunError


class ScoringError(RunError, ValueError):
    """Scores that cannot be rated."""


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


def operating_points(scores: ArrayLike, labels: ArrayLike) -> OperatingPoints:
    """All operating points of scores ``[trials]`` with labels ``[trials]`` (true or 1: the same speaker).

    Raises :class:`ScoringError` for scores that are not finite, labels other than 0 and 1, and a single
    class.
    """
    values, flags = np.asarray(scores, dtype=np.float64), np.asarray(labels)
    if values.ndim != 1 or values.shape != flags.shape:
        raise ScoringError(f"expected as many labels as scores, found shapes {flags.shape} and {values.shape}")
    if not np.isfinite(values).all():
        raise ScoringError(
            f"{np.count_nonzero(~np.isfinite(values))} of {len(values)} scores are not finite numbers; "
            "a model whose weights are not finite gives such scores"
        )
    if not np.isin(flags, (0, 1)).all():
        raise ScoringError(f"expected labels 1 (same speaker) and 0, found {np.unique(flags)[:5].tolist()}")
    same = flags.astype(bool)
    targets = int(np.count_nonzero(same))
    nontargets = len(same) - targets
    if not targets or not nontargets:
        raise ScoringError(f"expected trials of both kinds, found {targets} target and {nontargets} non-target trials")

    order = np.argsort(values, kind="stable")
    ascending = values[order]
    firsts = np.flatnonzero(np.diff(ascending, prepend=-np.inf))  # of every run of equal scores
    targets_below = np.concatenate([[0], np.cumsum(same[order])])
    below = np.append(firsts, len(values))
    misses = targets_below[below]
    return OperatingPoints(
        thresholds=np.append(ascending[firsts], np.inf),
        misses=misses,
        false_accepts=nontargets - (below - misses),
        targets=targets,
        nontargets=nontargets,
    )


def compute_eer(scores: ArrayLike, labels: ArrayLike) -> tuple[float, float]:
    """The equal error rate (a fraction) and its threshold.

    Misses grow and false accepts fall with the threshold; the rate lies where the straight lines between the
    two operating points around their crossing meet, the threshold as far between those two thresholds.
    Arguments and errors as in :func:`operating_points`.
    """
    points = operating_points(scores, labels)
    # Times both class sizes, which makes whole numbers: where the rates are equal, the balance is exactly 0.
    balance = points.misses * points.nontargets - points.false_accepts * points.targets
    after = int(np.searchsorted(balance, 0))  # at least 1: at the lowest threshold everything is accepted
    before = after - 1
    part = float(-balance[before] / (balance[after] - balance[before]))
    misses = points.misses[before] + part * (points.misses[after] - points.misses[before])
    low, high = points.thresholds[before], points.thresholds[after]
    threshold = min(low + part * (high - low), high) if np.isfinite(high) else low
    return float(misses / points.targets), float(threshold)


def compute_min_dcf(
    scores: ArrayLike, labels: ArrayLike, p_target: float = 0.01, c_miss: float = 1.0, c_fa: float = 1.0
) -> float:
    """The lowest detection cost of any threshold, over that of the better trivial decision (NIST SRE).

    ``min(c_miss p_target P_miss + c_fa (1 - p_target) P_fa) / min(c_miss p_target, c_fa (1 - p_target))``: at
    most 1. Arguments and errors as in :func:`operating_points`; ``ValueError`` for a prior outside (0, 1) or
    a cost of 0.
    """
    if not 0 < p_target < 1 or c_miss <= 0 or c_fa <= 0:
        raise ValueError(f"expected 0 < p_target < 1 and costs above 0, not {p_target=}, {c_miss=}, {c_fa=}")
    points = operating_points(scores, labels)
    miss_weight, accept_weight = c_miss * p_target, c_fa * (1 - p_target)
    cost = miss_weight * points.misses / points.targets + accept_weight * points.false_accepts / points.nontargets
    return float(cost.min() / min(miss_weight, accept_weight))
