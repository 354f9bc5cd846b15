"""The metrics of the trials of each condition, beside what one threshold gives in each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from vprtrain.scoring.bootstrap import (
    ConfidenceInterval,
    ConfidenceIntervals,
    bootstrap_intervals,
    bracketed,
    trial_speakers,
)
from vprtrain.scoring.conditions import Conditions
from vprtrain.scoring.metrics import equal_error_rate, min_cost
from vprtrain.scoring.text_table import text_table
from vprtrain.scoring.thresholds import ScoringError, operating_points
from vprtrain.scoring.trials import Trials


class ConditionMetrics(NamedTuple):
    """The trials of one condition. All rates are fractions; those that need trials of a kind that
    the condition does not have are ``None``."""

    target_trials: int
    nontarget_trials: int
    speakers: int
    eer: float | None = None
    min_dcf: float | None = None
    threshold: float | None = None
    """That of this condition's EER."""
    miss_rate: float | None = None
    """At the threshold of all trials."""
    false_accept_rate: float | None = None
    """At the threshold of all trials."""
    eer_interval: ConfidenceInterval | None = None
    """95 %, over draws of the speakers; ``None`` if not asked for, or for too few speakers."""
    min_dcf_interval: ConfidenceInterval | None = None

    def as_json(self) -> dict[str, Any]:
        """The metrics as JSON values; intervals only if there are some."""
        intervals = ("eer_interval", "min_dcf_interval")
        return {
            name: list(value) if name in intervals else value
            for name, value in self._asdict().items()
            if name not in intervals or value is not None
        }


class ByCondition(NamedTuple):
    """The metrics of each condition."""

    by: str
    """What divides the trials."""
    conditions: Mapping[str, ConditionMetrics]
    """By name."""

    def as_json(self) -> dict[str, Any]:
        """``{by: {condition: metrics}}``."""
        return {self.by: {name: found.as_json() for name, found in self.conditions.items()}}

    def table(self) -> list[list[str]]:
        """The cells of a table for people: the names of its columns, then a row a condition."""
        header = [self.by, "targets", "non-targets", "speakers", "EER", "minDCF"]
        rows = [[*header, "misses*", "false accepts*"]]
        for name, found in self.conditions.items():
            counts = (found.target_trials, found.nontarget_trials, found.speakers)
            rows.append(
                [
                    name,
                    *(f"{count:,}" for count in counts),
                    _cell(found.eer, ".2%", found.eer_interval),
                    _cell(found.min_dcf, ".4f", found.min_dcf_interval),
                    _cell(found.miss_rate, ".2%"),
                    _cell(found.false_accept_rate, ".2%"),
                ]
            )
        return rows

    def lines(self) -> list[str]:
        """The table as lines of text."""
        return [*text_table(self.table()), NOTE]


NOTE = "* at the threshold of the EER of all trials"
"""What the table's columns with a star mean."""


class _Part(NamedTuple):
    """Some of the trials, each column ``[trials]``."""

    scores: np.ndarray
    targets: np.ndarray
    enroll_speakers: np.ndarray
    test_speakers: np.ndarray


def rate_by_condition(
    scores: np.ndarray,
    trials: Trials,
    conditions: Conditions,
    *,
    threshold: float,
    p_target: float = 0.01,
    bootstrap: int = 0,
    seed: int = 0,
) -> ByCondition:
    """The metrics of each condition that has a trial.

    Args:
        scores: float64 ``[trials]``.
        threshold: that of all trials, for what it gives in each condition.
        p_target: the prior of minDCF, for costs of 1.
        bootstrap: the number of draws of the speakers for intervals; 0 for none.
        seed: of the draws.
    """
    all_trials = _Part(scores, trials.targets, *trial_speakers(trials))
    found = {}
    for place, name in enumerate(conditions.names):
        chosen = conditions.places == place
        part = _Part(*(column[chosen] for column in all_trials))
        if not len(part.scores):
            continue
        metrics = _metrics(part, threshold, p_target)
        if bootstrap and metrics.eer is not None:
            intervals = _intervals(part, p_target, bootstrap, seed)
            if intervals is not None:
                metrics = metrics._replace(
                    eer_interval=intervals.eer, min_dcf_interval=intervals.min_dcf[p_target]
                )
        found[name] = metrics
    return ByCondition(conditions.by, found)


def _metrics(part: _Part, threshold: float, p_target: float) -> ConditionMetrics:
    accepted = part.scores >= threshold
    targets, nontargets = accepted[part.targets], accepted[~part.targets]
    counted = ConditionMetrics(
        target_trials=len(targets),
        nontarget_trials=len(nontargets),
        speakers=len(np.unique([part.enroll_speakers, part.test_speakers])),
        miss_rate=1 - float(targets.mean()) if len(targets) else None,
        false_accept_rate=float(nontargets.mean()) if len(nontargets) else None,
    )
    if not len(targets) or not len(nontargets):
        return counted
    points = operating_points(part.scores, part.targets)
    eer, own = equal_error_rate(points)
    return counted._replace(eer=eer, min_dcf=min_cost(points, p_target).cost, threshold=own)


def _intervals(
    part: _Part, p_target: float, bootstrap: int, seed: int
) -> ConfidenceIntervals | None:
    try:
        return bootstrap_intervals(*part, seed=seed, replicates=bootstrap, p_targets=(p_target,))
    except ScoringError:  # too few speakers
        return None


def _cell(value: float | None, form: str, interval: ConfidenceInterval | None = None) -> str:
    return "" if value is None else f"{value:{form}}{bracketed(interval, form)}"
