"""Meters of training: the mean loss, kept on the device, and where the time goes."""

from __future__ import annotations

import statistics
from collections import deque
from collections.abc import Callable
from typing import Any

import numpy as np
import paddle

from vprtrain.engine.module import Scalars


class LossMeter:
    """The mean loss since the last log point. Losses stay on the device until :meth:`read`."""

    def __init__(self) -> None:
        self._pending: list[paddle.Tensor] = []
        self._sum = 0.0
        self._count = 0

    def add(self, loss: paddle.Tensor) -> None:
        """Add a step's loss without fetching it."""
        self._pending.append(loss)

    def read(self, scalars: Scalars) -> dict[str, float]:
        """The mean loss and the given scalars as numbers, fetched from the device together.

        Empty if no loss was added since :meth:`reset`.
        """
        if not self._pending and not self._count:
            return {}
        stacks = [paddle.stack(self._pending).flatten()] if self._pending else []
        stacks += [tensor.astype("float32").flatten() for tensor in scalars.values()]
        fetched = paddle.concat(stacks).numpy().astype(np.float64).tolist() if stacks else []
        losses, values = fetched[: len(self._pending)], fetched[len(self._pending) :]
        # Added one by one, so that a sum continued from a checkpoint has the same bits.
        for loss in losses:
            self._sum += loss
        self._count += len(losses)
        self._pending.clear()
        return {"loss": self._sum / self._count, **dict(zip(scalars, values, strict=True))}

    def reset(self) -> None:
        """Start a new interval."""
        self._sum, self._count = 0.0, 0

    def state_dict(self) -> dict[str, Any]:
        """The interval as of the last :meth:`read`: a resumed run logs what the uninterrupted run
        logs."""
        return {"sum": self._sum, "count": self._count}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue a saved interval."""
        self._sum, self._count = state["sum"], state["count"]


class Stopwatch:
    """Seconds that the recent steps took, and how much of that was waiting for data."""

    WINDOW = 100
    """Steps."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._started = clock()
        self._waits: deque[float] = deque(maxlen=self.WINDOW)
        self._steps: deque[float] = deque(maxlen=self.WINDOW)
        self._validations: deque[float] = deque(maxlen=20)

    def start(self) -> None:
        """A step starts to wait for data."""
        self._started = self._clock()

    def fetched(self) -> None:
        """The step has its data."""
        self._waits.append(self._clock() - self._started)

    def stepped(self) -> None:
        """The step is done."""
        self._steps.append(self._clock() - self._started)

    def validated(self, seconds: float) -> None:
        """A validation took this long."""
        self._validations.append(seconds)

    @property
    def steps_per_second(self) -> float:
        """Over the window, including waits for data."""
        return len(self._steps) / max(sum(self._steps), 1e-9)

    @property
    def data_wait_share(self) -> float:
        """The share of the window that was spent on waiting for data, 0 to 1."""
        return sum(self._waits) / max(sum(self._steps), 1e-9)

    def eta(self, steps: int, validations: int) -> float | None:
        """Seconds that so many more steps and validations will take, by the medians; ``None``
        before the first step. From any thread: the windows are copied before use.
        """
        if not self._steps:
            return None
        validation = statistics.median(list(self._validations)) if self._validations else 0.0
        return statistics.median(list(self._steps)) * steps + validation * validations
