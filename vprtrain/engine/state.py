"""Where a run is: the position that a checkpoint holds, and the live view for observers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple


# One is made in every step, and a frozen dataclass takes three times as long.
class Progress(NamedTuple):
    """A position between two steps."""

    epoch: int = 0
    """Completed epochs."""
    batch_in_epoch: int = 0
    """Training batches of the current epoch that have been consumed."""
    step: int = 0
    """Completed optimizer updates."""
    validation_pending: bool = False
    """A stop cut short the validation due at this position: the resumed run starts with it."""


@dataclass(frozen=True, kw_only=True)
class LiveState:
    """What the engine is doing, readable from any thread. Before the first run it is all zeros."""

    epoch: int = 0
    step: int = 0
    max_steps: int = 0
    """The step at which training is complete; 0 without training."""
    train_loss: float | None = None
    """As of the newest log point."""
    train_accuracy: float | None = None
    """As of the newest log point."""
    eta_seconds: float | None = None
    metrics: Mapping[str, float] = field(default_factory=dict)
    """Of the newest validation."""


@dataclass(frozen=True, kw_only=True)
class FitResult:
    """How a call of ``fit`` ended."""

    stopped_by: str
    """``max_epochs``, ``max_steps``, ``max_time``, or the reason given to ``request_stop``
    (``SIGTERM`` ..)."""
    epoch: int
    step: int
    metrics: Mapping[str, float] = field(default_factory=dict)
    """Of the newest validation."""
