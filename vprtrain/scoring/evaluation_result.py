"""The result of an evaluation: the scores of some trials and their metrics."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from vprtrain.scoring.bootstrap import ConfidenceIntervals, bracketed
from vprtrain.scoring.by_condition import ByCondition
from vprtrain.scoring.rating import Rating

HEADLINE_P_TARGET = 0.01


@dataclass(frozen=True, kw_only=True, eq=False)
class EvaluationResult:
    """The scores of the trials by one method, and their metrics."""

    name: str
    scores: np.ndarray
    """float64 ``[trials]``."""
    targets: np.ndarray
    """bool ``[trials]``."""
    rating: Rating
    speakers: int
    """The speakers of the trials' recordings."""
    recordings: int
    """The recordings that the trials need."""
    notes: Mapping[str, Any]
    """JSON values for the report, for example the number of dropped trials."""

    intervals: ConfidenceIntervals | None = None
    """Of ``eer`` and ``min_dcf``; ``None`` if none were computed."""
    by_condition: ByCondition | None = None
    """The metrics of each condition; ``None`` if the trials are not divided."""

    @property
    def metrics(self) -> dict[str, float]:
        """``eer``, ``min_dcf`` (p = 0.01) and ``threshold``, as from a validation in training."""
        rating = self.rating
        return {
            "eer": rating.eer,
            "min_dcf": rating.min_dcf[HEADLINE_P_TARGET].cost,
            "threshold": rating.threshold,
        }

    @property
    def summary(self) -> str:
        """The metrics in one line of text."""
        eer, min_dcf, threshold = self.metrics.values()
        costs = None if self.intervals is None else self.intervals.min_dcf[HEADLINE_P_TARGET]
        return (
            f"eer {eer:.2%}{bracketed(self.intervals and self.intervals.eer, '.2%')}, "
            f"min_dcf {min_dcf:.4f}{bracketed(costs, '.4f')}, threshold {threshold:.4f}"
        )

    def as_json(self) -> dict[str, Any]:
        """All metrics and notes as JSON values."""
        rating = self.rating
        content = {
            **self.metrics,
            "convex_hull_eer": rating.convex_hull_eer,
            "speakers": self.speakers,
            "recordings": self.recordings,
            "target_trials": rating.points.targets,
            "nontarget_trials": rating.points.nontargets,
            "min_dcf_at": {
                f"{p_target:g}": {"min_dcf": cost.cost, **cost.at._asdict()}
                for p_target, cost in rating.min_dcf.items()
            },
            "at_false_accept_rate": {
                f"{rate:g}": point._asdict() for rate, point in rating.at_false_accept_rate.items()
            },
        }
        if self.intervals is not None:
            content["intervals_95"] = {
                "eer": list(self.intervals.eer),
                "min_dcf_at": {
                    f"{p_target:g}": list(interval)
                    for p_target, interval in self.intervals.min_dcf.items()
                },
                "speakers": self.intervals.speakers,
                "replicates": self.intervals.replicates,
            }
        if self.by_condition is not None:
            content["by"] = self.by_condition.as_json()
        return {**content, **self.notes}
