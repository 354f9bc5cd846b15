"""Where a run is: the position that a checkpoint holds, and the live view for anyone who
watches."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple


# one is made in every step, and a frozen dataclass takes three times as long
class Progress(NamedTuple):
    """A position between two steps."""

    epoch: int = 0
    """Completed epochs."""
    batch_in_epoch: int = 0
    """Training batches of the current epoch that have been consumed."""
    step: int = 0
    """Completed optimizer updates."""
    validation_pending: bool = False
    """A validation was due at this position and was cut short: it comes first."""


@dataclass(frozen=True, kw_only=True)
class LiveState:
    """What the engine is doing, readable from any thread. Losses are as of the newest log point."""

    epoch: int
    step: int
    max_steps: int
    train_loss: float | None
    train_accuracy: float | None
    eta_seconds: float | None
    metrics: Mapping[str, float]
    """The newest validation's."""


@dataclass(frozen=True, kw_only=True)
class FitResult:
    """How a call of ``fit`` ended."""

    stopped_by: str
    """``max_epochs``, ``max_steps``, ``max_time``, or the reason given to ``request_stop``
    (``SIGTERM`` ..)."""
    epoch: int
    step: int
    metrics: Mapping[str, float] = field(default_factory=dict)
    """The newest validation's metrics."""
