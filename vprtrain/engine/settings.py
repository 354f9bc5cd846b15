"""The settings of an Engine: its arguments, parsed and checked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from vprtrain.engine.interval import Interval
from vprtrain.engine.optimizers import OptimizerFactory
from vprtrain.errors import require_number, require_whole
from vprtrain.ranks.ranks import Ranks

_MOST_SEED = 2**63 - 1  # an int64 in the key of each draw


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
            require_whole(name, getattr(self, name), 0)
        for name in ("accumulate", "log_every", "agree_every", "max_epochs", "max_steps"):
            value = getattr(self, name)
            if value is not None or name not in ("max_epochs", "max_steps"):
                require_whole(name, value, 1)
        require_whole("seed", self.seed, -_MOST_SEED, _MOST_SEED)
        for name in ("max_time", "clip_norm"):
            if (limit := getattr(self, name)) is not None:
                require_number(name, limit, above=0)
