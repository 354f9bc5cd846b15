"""The settings of an Engine: its arguments, parsed and checked."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from vprtrain.engine.interval import Interval
from vprtrain.engine.optimizers import OptimizerFactory
from vprtrain.errors import UsageError, require_at_least
from vprtrain.ranks.ranks import Ranks


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What holds for every run of an Engine. The docstring of Engine explains each value.

    Raises:
        UsageError: a number is out of range.
    """

    run_dir: Path | None
    """``None`` if the run writes nothing."""
    optimizer: OptimizerFactory
    max_epochs: int | None
    max_steps: int | None
    max_time: float | None
    validate_every: Interval
    sanity_batches: int
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
        for name in ("fast_dev_run", "overfit_batches", "sanity_batches"):
            require_at_least(name, getattr(self, name), 0)
        for name in ("accumulate", "log_every", "agree_every", "max_epochs", "max_steps"):
            value = getattr(self, name)
            if value is not None:
                require_at_least(name, value, 1)
        for name, limit in (("max_time", self.max_time), ("clip_norm", self.clip_norm)):
            if limit is not None and not 0 < limit < math.inf:
                raise UsageError(f"{name} is {limit}: expected a positive number, or none at all")
