"""The metric that a callback monitors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from vprtrain.errors import UsageError

Mode = Literal["min", "max"]
"""Whether the lowest or the highest value of a metric is the best."""


class Monitor:
    """A metric, and which of two values of it is better.

    Args:
        owner: the callback's class name, for messages.
        metric: its name; ``None`` for the module's first one.
        mode: whether lower or higher is better.

    Raises:
        UsageError: ``mode`` is neither.
    """

    def __init__(self, owner: str, metric: str | None, mode: Mode) -> None:
        if mode not in ("min", "max"):
            raise UsageError(f"{owner}'s mode is {mode!r}: expected 'min' or 'max'")
        self._owner = owner
        self._metric = metric
        self._mode = mode

    def metric(self, names: Sequence[str]) -> str:
        """The name of the monitored metric.

        Args:
            names: the module's metrics.

        Raises:
            UsageError: the module has no such metric, or no metric at all.
        """
        if self._metric is None and names:
            return names[0]
        if self._metric is None or self._metric not in names:
            raise UsageError(
                f"{self._owner} monitors {self._metric!r}, "
                f"but the module's metrics are {list(names)}: choose one of them"
            )
        return self._metric

    def is_better(self, value: float, than: float | None, *, by: float = 0.0) -> bool:
        """Whether a value is better than another by more than ``by``; any value is better than
        ``None``."""
        return than is None or self.cost(value) < self.cost(than) - by

    def cost(self, value: float) -> float:
        """The value, or its negative: of two costs the lower is the better."""
        return value if self._mode == "min" else -value

    def fingerprint(self) -> dict[str, str | None]:
        """For the callback's own. Without ``mode`` if it is ``min``, as checkpoints of 0.1 have
        it."""
        return {"monitor": self._metric} | ({} if self._mode == "min" else {"mode": self._mode})
