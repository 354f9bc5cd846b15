"""Confidence intervals of the metrics, for other speakers of the same population.

The trials of one speaker are not independent. So speakers are drawn with replacement, not trials
(Bolle, Ratha and Pankanti, "Error analysis of pattern recognition systems: the subsets bootstrap",
2004), on both sides of a trial at once (Owen, "The pigeonhole bootstrap", 2007). The weight of a
trial of two speakers is the product of the numbers of times that each was drawn. The weight of a
trial of one speaker is the number of times that this speaker was drawn.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.sparse import coo_array, csr_array
from scipy.sparse.csgraph import connected_components

from vprtrain.scoring.metrics import cost_weights, equal_error_rate, min_cost
from vprtrain.scoring.thresholds import OperatingPoints, ScoringError, check_trials, run_starts
from vprtrain.scoring.trials import Trials

_CORPUS_SPEAKER = re.compile(r"(?:^|/)(id\d{5})[-/]")  # in utterance ids of VoxCeleb and CN-Celeb


class ConfidenceInterval(NamedTuple):
    """The ends of a percentile interval."""

    low: float
    high: float


def bracketed(interval: ConfidenceInterval | None, form: str) -> str:
    """The interval as text after a number; empty without one."""
    return "" if interval is None else f" [{interval.low:{form}}, {interval.high:{form}}]"


class ConfidenceIntervals(NamedTuple):
    """The result of :func:`bootstrap_intervals`."""

    eer: ConfidenceInterval
    min_dcf: Mapping[float, ConfidenceInterval]
    """By target prior."""
    speakers: int
    replicates: int
    """The number of draws that had trials of both kinds."""


def trial_speakers(trials: Trials) -> tuple[np.ndarray, np.ndarray]:
    """The speakers of the enrolments and of the test utterances, int64 ``[trials]`` each.

    Every speaker is a number. The speakers are taken from the utterance ids if these are named as
    in VoxCeleb and CN-Celeb and agree with the labels of all trials. Otherwise they are taken from
    the labels: ids that target trials link, directly or through others, are one speaker.
    """
    ids = {
        name: place
        for place, name in enumerate(dict.fromkeys((*trials.enroll_ids, *trials.test_ids)))
    }
    enroll = np.array([ids[name] for name in trials.enroll_ids])[trials.enroll]
    test = np.array([ids[name] for name in trials.test_ids])[trials.test]
    found = [_CORPUS_SPEAKER.search(name) for name in ids]
    if all(found):
        speakers = np.unique([match[1] for match in found if match], return_inverse=True)[1]
        if np.array_equal(speakers[enroll] == speakers[test], trials.targets):
            return speakers[enroll], speakers[test]
    links = coo_array(
        (
            np.ones(np.count_nonzero(trials.targets), dtype=np.int8),
            (enroll[trials.targets], test[trials.targets]),
        ),
        shape=(len(ids), len(ids)),
    )
    speakers = connected_components(links, directed=False)[1].astype(np.int64)
    return speakers[enroll], speakers[test]


def bootstrap_intervals(
    scores: ArrayLike,
    labels: ArrayLike,
    enroll_speakers: ArrayLike,
    test_speakers: ArrayLike,
    *,
    seed: int = 0,
    replicates: int = 1000,
    confidence: float = 0.95,
    p_targets: Sequence[float] = (0.01, 0.05),
) -> ConfidenceIntervals:
    """Percentile intervals of EER and minDCF (both costs 1) over random draws of the speakers.

    Each draw has as many speakers as there are. Draw ``i`` is a function of ``seed`` and ``i``
    only.

    Args:
        scores, labels: as in :func:`vprtrain.scoring.thresholds.operating_points`.
        enroll_speakers, test_speakers: a number for each speaker, ``[trials]``, as from
            :func:`trial_speakers`.
        seed: of the random draws.
        replicates: the number of draws.
        confidence: the share of the draws that lie in the interval.
        p_targets: the target priors of minDCF.

    Raises:
        ScoringError: as in :func:`vprtrain.scoring.thresholds.operating_points`; or most draws lack
            trials of one kind because there are too few speakers.
        ValueError: another argument is out of its range.
    """
    if replicates < 1 or not 0 < confidence < 1:
        raise ValueError(
            f"expected at least one replicate and 0 < confidence < 1, found {replicates=}, "
            f"{confidence=}"
        )
    for p_target in p_targets:
        cost_weights(p_target, 1.0, 1.0)
    resampled = _ResampledTrials(
        *check_trials(scores, labels), np.asarray(enroll_speakers), np.asarray(test_speakers)
    )
    rows = []
    for number in range(replicates):
        rng = np.random.default_rng((seed, number))
        counts = np.bincount(
            rng.integers(resampled.speakers, size=resampled.speakers), minlength=resampled.speakers
        )
        rows.append(resampled.metrics(counts, p_targets))
    usable = np.array([row for row in rows if row is not None])
    if 2 * len(usable) <= replicates:
        raise ScoringError(
            f"{replicates - len(usable)} of {replicates} draws of {resampled.speakers} speaker(s) "
            "have trials of only one kind: too few speakers for confidence intervals"
        )
    low, high = np.quantile(usable, [(1 - confidence) / 2, (1 + confidence) / 2], axis=0)
    eer, *costs = (ConfidenceInterval(float(a), float(b)) for a, b in zip(low, high, strict=True))
    return ConfidenceIntervals(
        eer, dict(zip(p_targets, costs, strict=True)), resampled.speakers, len(usable)
    )


class _ResampledTrials:
    """Trials, sorted once, whose metrics can be computed for any draw of the speakers.

    Most trials are non-targets with low scores, far below any draw's threshold of the EER or
    minDCF. Trials below a floor are only counted, by pairs of speakers. A draw for which the floor
    turns out to be too high is computed from all trials.
    """

    def __init__(
        self, values: np.ndarray, same: np.ndarray, enroll: np.ndarray, test: np.ndarray
    ) -> None:
        if enroll.shape != values.shape or test.shape != values.shape:
            raise ScoringError(
                f"expected two speakers for each trial, found {enroll.shape} and {test.shape} "
                f"speakers for {values.shape} trials"
            )
        names, places = np.unique(np.concatenate([enroll, test]), return_inverse=True)
        self.speakers = len(names)
        enroll, test = places[: len(values)], places[len(values) :]
        # The weight of a trial of one speaker is the number of times that this speaker was drawn:
        # its other side becomes an extra speaker who is always drawn once.
        test = np.where(enroll == test, self.speakers, test)
        order = np.argsort(values)
        self._ascending = values[order]
        self._same = same[order]
        self._enroll, self._test = enroll[order].astype(np.int32), test[order].astype(np.int32)
        self._firsts = run_starts(self._ascending)
        self._pairs = [self._count_pairs(enroll[chosen], test[chosen]) for chosen in (same, ~same)]
        self._floor = self._find_floor()

    def metrics(self, counts: np.ndarray, p_targets: Sequence[float]) -> list[float] | None:
        """EER and minDCF of one draw; ``None`` without trials of both kinds.

        Args:
            counts: how often each speaker was drawn, ``[speakers]``.
        """
        sides = counts, np.append(counts, 1)
        targets, nontargets = (int(sides[0] @ (pairs @ sides[1])) for pairs in self._pairs)
        if not targets or not nontargets:
            return None
        points = self._points(sides, self._floor, targets, nontargets)
        costs = [min_cost(points, p_target).cost for p_target in p_targets]
        # Below the floor, every false accept rate is at least the one at the floor.
        floor_rate = points.false_accepts[0] / nontargets
        crossed = points.misses[0] * nontargets >= points.false_accepts[0] * targets
        if self._floor and (
            crossed
            or any(
                cost > (1 - p) * floor_rate / min(p, 1 - p)
                for p, cost in zip(p_targets, costs, strict=True)
            )
        ):
            points = self._points(sides, 0, targets, nontargets)
            costs = [min_cost(points, p_target).cost for p_target in p_targets]
        return [equal_error_rate(points)[0], *costs]

    def _points(
        self, sides: tuple[np.ndarray, np.ndarray], floor: int, targets: int, nontargets: int
    ) -> OperatingPoints:
        """The operating points from the run of equal scores with index ``floor`` on."""
        start = self._firsts[floor]
        weights = sides[0][self._enroll[start:]] * sides[1][self._test[start:]]
        all_trials = np.concatenate([[0], np.cumsum(weights)])
        same_speaker = np.concatenate([[0], np.cumsum(weights * self._same[start:])])
        below = np.append(self._firsts[floor:], len(self._ascending)) - start
        return OperatingPoints(
            thresholds=np.append(self._ascending[self._firsts[floor:]], np.inf),
            misses=targets - same_speaker[-1] + same_speaker[below],
            false_accepts=(all_trials[-1] - same_speaker[-1])
            - (all_trials[below] - same_speaker[below]),
            targets=targets,
            nontargets=nontargets,
        )

    def _count_pairs(self, enroll: np.ndarray, test: np.ndarray) -> csr_array:
        """The number of trials of each pair of speakers, ``[speakers, speakers + 1]``."""
        ones = np.ones(len(enroll), dtype=np.int64)
        return coo_array((ones, (enroll, test)), shape=(self.speakers, self.speakers + 1)).tocsr()

    def _find_floor(self) -> int:
        """The index of the run at which the false accept rate falls below about twice the EER."""
        once = np.ones(self.speakers, dtype=np.int64), np.ones(self.speakers + 1, dtype=np.int64)
        targets = int(np.count_nonzero(self._same))
        points = self._points(once, 0, targets, len(self._same) - targets)
        above = points.false_accept_rates >= 2 * equal_error_rate(points)[0] + 0.01
        return max(0, int(np.count_nonzero(above)) - 1)
