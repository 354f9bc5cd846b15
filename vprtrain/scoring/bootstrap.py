"""Confidence intervals: what the metrics might have been on other speakers.

Trials of one speaker are not independent, so speakers are drawn with replacement, not trials
(Bolle, Ratha and Pankanti, "Error analysis of pattern recognition systems: the subsets bootstrap",
2004), on both sides of a trial at once (Owen, "The pigeonhole bootstrap", 2007): a trial of two
speakers counts as often as both were drawn together, one of a single speaker as often as that one
was.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from vprtrain.scoring.metrics import (
    OperatingPoints,
    ScoringError,
    check_trials,
    cost_weights,
    equal_error_rate,
    min_cost,
    run_starts,
)
from vprtrain.scoring.trials import Trials

_CORPUS_SPEAKER = re.compile(r"(?:^|/)(id\d{5})[-/]")  # VoxCeleb's and CN-Celeb's utterances


class ConfidenceInterval(NamedTuple):
    """The two ends of a confidence interval."""

    low: float
    high: float


class ConfidenceIntervals(NamedTuple):
    """What :func:`bootstrap_intervals` finds."""

    eer: ConfidenceInterval
    min_dcf: Mapping[float, ConfidenceInterval]
    """by target prior"""
    speakers: int
    replicates: int
    """how many had trials of both kinds"""


def trial_speakers(trials: Trials) -> tuple[np.ndarray, np.ndarray]:
    """Who speaks on each side, int64 ``[trials]`` each: a number for every speaker.

    By the names that VoxCeleb and CN-Celeb give their utterances, where the labels agree with them
    in every trial. Otherwise by the labels: what target trials link, directly or through others, is
    one speaker.
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
    """Percentile intervals of EER and minDCF (both costs 1) over draws of as many speakers as there
    are.

    Speakers are numbers ``[trials]``, as :func:`trial_speakers` gives them. Draw number ``i`` is a
    function of ``seed`` and ``i`` alone.

    Raises :class:`ScoringError` as :func:`vprtrain.scoring.metrics.operating_points` does, and
    where most draws lack trials of one kind, as there are too few speakers; ``ValueError`` for
    other arguments that make no sense.
    """
    if replicates < 1 or not 0 < confidence < 1:
        raise ValueError(
            f"expected at least one replicate and 0 < confidence < 1, not {replicates=}, {confidence=}"
        )
    for p_target in p_targets:
        cost_weights(p_target, 1.0, 1.0)
    redrawn = _Redrawn(
        *check_trials(scores, labels), np.asarray(enroll_speakers), np.asarray(test_speakers)
    )
    rows = []
    for number in range(replicates):
        rng = np.random.default_rng((seed, number))
        counts = np.bincount(
            rng.integers(redrawn.speakers, size=redrawn.speakers), minlength=redrawn.speakers
        )
        rows.append(redrawn.metrics(counts, p_targets))
    usable = np.array([row for row in rows if row is not None])
    if 2 * len(usable) <= replicates:
        raise ScoringError(
            f"{replicates - len(usable)} of {replicates} draws of {redrawn.speakers} speaker(s) have trials of one "
            "kind only: too few speakers for confidence intervals"
        )
    low, high = np.quantile(usable, [(1 - confidence) / 2, (1 + confidence) / 2], axis=0)
    eer, *costs = (ConfidenceInterval(float(a), float(b)) for a, b in zip(low, high, strict=True))
    return ConfidenceIntervals(
        eer, dict(zip(p_targets, costs, strict=True)), redrawn.speakers, len(usable)
    )


class _Redrawn:
    """Trials, sorted once, whose metrics can be had for any draw of the speakers.

    Most trials are non-targets with low scores, where no draw has its EER or minDCF: of the trials
    below a floor only the sums are taken, over pairs of speakers. A draw for which the floor was
    too high is done in full.
    """

    def __init__(
        self, values: np.ndarray, same: np.ndarray, enroll: np.ndarray, test: np.ndarray
    ) -> None:
        if enroll.shape != values.shape or test.shape != values.shape:
            raise ScoringError(
                f"expected two speakers a trial, found {enroll.shape}, {test.shape} of {values.shape}"
            )
        names, places = np.unique(np.concatenate([enroll, test]), return_inverse=True)
        self.speakers = len(names)
        enroll, test = places[: len(values)], places[len(values) :]
        # A trial of one speaker counts as often as that one: its other side is a speaker who is
        # always drawn once.
        test = np.where(enroll == test, self.speakers, test)
        order = np.argsort(values)
        self._ascending = values[order]
        self._same = same[order]
        self._enroll, self._test = enroll[order].astype(np.int32), test[order].astype(np.int32)
        self._firsts = run_starts(self._ascending)
        self._pairs = [self._count_pairs(enroll[chosen], test[chosen]) for chosen in (same, ~same)]
        self._floor = self._find_floor()

    def metrics(self, counts: np.ndarray, p_targets: Sequence[float]) -> list[float] | None:
        """EER and minDCF where speakers were drawn so often ``[speakers]``; ``None`` without trials
        of both kinds."""
        sides = counts, np.append(counts, 1)
        targets, nontargets = (int(sides[0] @ (pairs @ sides[1])) for pairs in self._pairs)
        if not targets or not nontargets:
            return None
        points = self._points(sides, self._floor, targets, nontargets)
        costs = [min_cost(points, p_target).cost for p_target in p_targets]
        # Below the floor every false accept rate is at least the floor's.
        unseen = points.false_accepts[0] / nontargets
        crossed = points.misses[0] * nontargets >= points.false_accepts[0] * targets
        if self._floor and (
            crossed
            or any(
                cost > (1 - p) * unseen / min(p, 1 - p)
                for p, cost in zip(p_targets, costs, strict=True)
            )
        ):
            points = self._points(sides, 0, targets, nontargets)
            costs = [min_cost(points, p_target).cost for p_target in p_targets]
        return [equal_error_rate(points)[0], *costs]

    def _points(
        self, sides: tuple[np.ndarray, np.ndarray], floor: int, targets: int, nontargets: int
    ) -> OperatingPoints:
        """The operating points from run number ``floor`` on."""
        start = self._firsts[floor]
        weights = sides[0][self._enroll[start:]] * sides[1][self._test[start:]]
        both = np.concatenate([[0], np.cumsum(weights)])
        ours = np.concatenate([[0], np.cumsum(weights * self._same[start:])])
        below = np.append(self._firsts[floor:], len(self._ascending)) - start
        return OperatingPoints(
            thresholds=np.append(self._ascending[self._firsts[floor:]], np.inf),
            misses=targets - ours[-1] + ours[below],
            false_accepts=(both[-1] - ours[-1]) - (both[below] - ours[below]),
            targets=targets,
            nontargets=nontargets,
        )

    def _count_pairs(self, enroll: np.ndarray, test: np.ndarray) -> coo_array:
        ones = np.ones(len(enroll), dtype=np.int64)
        return coo_array((ones, (enroll, test)), shape=(self.speakers, self.speakers + 1)).tocsr()

    def _find_floor(self) -> int:
        """The run from which on the false accept rate is below a little more than twice the EER."""
        once = np.ones(self.speakers, dtype=np.int64), np.ones(self.speakers + 1, dtype=np.int64)
        targets = int(np.count_nonzero(self._same))
        points = self._points(once, 0, targets, len(self._same) - targets)
        enough = points.false_accept_rates >= 2 * equal_error_rate(points)[0] + 0.01
        return max(0, int(np.count_nonzero(enough)) - 1)
