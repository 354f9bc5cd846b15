"""The base of callbacks that hand the run's numbers to a logger."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping

from vprtrain.engine import Callback, Run, ValidationRun

TRAIN, VALIDATION = "train", "validation"


class ScalarLog(Callback, ABC):
    """Writes the numbers of each log point and of each validation."""

    def on_log(self, run: Run) -> None:
        self.write(run, TRAIN, training_values(run) | speed(run))

    def on_validation_end(self, run: ValidationRun, metrics: Mapping[str, float] | None) -> None:
        if metrics is not None:
            self.write(run, VALIDATION, metrics)

    @abstractmethod
    def write(self, run: ValidationRun, group: str, values: Mapping[str, float]) -> None:
        """Log values by name at ``run.progress``; do nothing where ``fit`` writes nothing.

        Args:
            group: :data:`TRAIN` or :data:`VALIDATION`.
        """


def training_values(run: Run) -> dict[str, float]:
    """The numbers of a log point, the same in every repetition of the run."""
    module = run.module
    scheduled = {name: module.scheduled_value(name) for name in module.scheduled}
    return {**run.scalars, **scheduled, "learning_rate": run.learning_rate}


def speed(run: Run) -> dict[str, float]:
    """The numbers of a log point that depend on the clock."""
    return {
        f"{run.data.unit}_per_second": round(run.examples_per_second, 3),
        "data_wait_share": round(run.stopwatch.data_wait_share, 4),
    }
