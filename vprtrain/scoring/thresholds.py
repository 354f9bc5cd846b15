"""The errors of a list of scores at every threshold.

The operating points are those of the rule "accept at score >= threshold". There is one for each
distinct score, and one above all scores, at which nothing is accepted. :func:`operating_points`
sorts the scores once; functions of :class:`OperatingPoints` do not sort.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from vprtrain.errors import RunError


class ScoringError(RunError, ValueError):
    """The metrics of scores cannot be computed."""


class OperatingPoint(NamedTuple):
    """A threshold and the error rates of decisions by it."""

    threshold: float
    """Finite: to accept nothing, it is the next float above the highest score."""
    miss_rate: float
    false_accept_rate: float


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

    def point(self, index: int) -> OperatingPoint:
        """The point at this index, as rates."""
        threshold = self.thresholds[index]
        if np.isinf(threshold):
            threshold = np.nextafter(self.thresholds[index - 1], np.inf)
        return OperatingPoint(
            float(threshold),
            float(self.misses[index] / self.targets),
            float(self.false_accepts[index] / self.nontargets),
        )


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


def at_false_accept_rate(points: OperatingPoints, rate: float) -> OperatingPoint:
    """The lowest threshold with at most this false accept rate.

    Raises:
        ValueError: ``rate`` is not from 0 to 1.
    """
    if not 0 <= rate <= 1:
        raise ValueError(f"expected a false accept rate from 0 to 1, found {rate}")
    return points.point(int(np.argmax(points.false_accept_rates <= rate)))


def at_threshold(points: OperatingPoints, threshold: float) -> OperatingPoint:
    """The error rates of decisions by this threshold."""
    found = points.point(int(np.searchsorted(points.thresholds, threshold)))
    return found._replace(threshold=threshold)
