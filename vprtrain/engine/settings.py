"""The settings of an Engine: its arguments, parsed and checked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from vprtrain.engine.interval import Interval
from vprtrain.engine.optimizers import OptimizerFactory
from vprtrain.errors import UsageError
from vprtrain.ranks.ranks import Ranks


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What holds for every run of an Engine. The docstring of Engine explains each value.

    Raises:
        UsageError: a number that counts something is below 1.
    """

    run_dir: Path | None
    """``None`` if the run writes nothing."""
    optimizer: OptimizerFactory
    max_epochs: int | None
    max_steps: int | None
    max_time: float | None
    validate_every: Interval
    commit_every: Interval
    accumulate: int
    clip_norm: float | None
    log_every: int
    fast_dev_run: int
    overfit_batches: int
    agree_every: int
    seed: int
    config: str
    clock: Callable[[], float]
    ranks: Ranks

    def __post_init__(self) -> None:
        counts = {
            "accumulate": self.accumulate,
            "log_every": self.log_every,
            "max_epochs": self.max_epochs,
            "max_steps": self.max_steps,
            "agree_every": self.agree_every,
        }
        for name, value in counts.items():
            if value is not None and value < 1:
                raise UsageError(f"{name} is {value}: expected at least 1")
