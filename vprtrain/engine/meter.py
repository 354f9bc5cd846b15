"""What the log shows of training: a mean loss that stays on the device, and where the time goes."""

from __future__ import annotations

import statistics
from collections import deque
from collections.abc import Callable
from typing import Any

import numpy as np
import paddle

from vprtrain.engine.module import Scalars


class LossMeter:
    """The mean loss since the last log point. Losses stay on the device until it is read."""

    def __init__(self) -> None:
        self._pending: list[paddle.Tensor] = []
        self._sum = 0.0
        self._count = 0

    def add(self, loss: paddle.Tensor) -> None:
        """Take in a step's loss, without looking at it."""
        self._pending.append(loss)

    def read(self, scalars: Scalars) -> dict[str, float]:
        """The mean loss and the given scalars as numbers, fetched from the device together."""
        if not self._pending and not self._count:
            return {}
        stacks = [paddle.stack(self._pending).flatten()] if self._pending else []
        stacks += [tensor.astype("float32").flatten() for tensor in scalars.values()]
        fetched = paddle.concat(stacks).numpy().astype(np.float64).tolist() if stacks else []
        losses, values = fetched[: len(self._pending)], fetched[len(self._pending) :]
        # One after the other, so that a sum that a checkpoint cut in two comes out the same.
        for loss in losses:
            self._sum += loss
        self._count += len(losses)
        self._pending.clear()
        return {"loss": self._sum / self._count, **dict(zip(scalars, values, strict=True))}

    def reset(self) -> None:
        """Begin a new interval."""
        self._sum, self._count = 0.0, 0

    def state_dict(self) -> dict[str, Any]:
        """The interval as of the last reading, so that a resumed run logs what the uninterrupted
        one does."""
        return {"sum": self._sum, "count": self._count}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on with a saved interval."""
        self._sum, self._count = state["sum"], state["count"]


class Stopwatch:
    """Seconds a step waited for data and took in all, over a window of recent steps; validation
    apart."""

    WINDOW = 100

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._started = clock()
        self._waits: deque[float] = deque(maxlen=self.WINDOW)
        self._steps: deque[float] = deque(maxlen=self.WINDOW)
        self._validations: deque[float] = deque(maxlen=20)

    def start(self) -> None:
        """A step begins: it will now wait for data."""
        self._started = self._clock()

    def fetched(self) -> None:
        """The data is there."""
        self._waits.append(self._clock() - self._started)

    def stepped(self) -> None:
        """The step is done."""
        self._steps.append(self._clock() - self._started)

    def validated(self, seconds: float) -> None:
        """A validation took this long."""
        self._validations.append(seconds)

    @property
    def steps_per_second(self) -> float:
        """Over the window, waits included."""
        return len(self._steps) / max(sum(self._steps), 1e-9)

    @property
    def data_wait_share(self) -> float:
        """The share of the window that was spent waiting for data, 0 to 1."""
        return sum(self._waits) / max(sum(self._steps), 1e-9)

    def eta(self, steps: int, validations: int) -> float | None:
        """Seconds that this many more steps and validations will take, by the medians; ``None``
        before the first.

        From any thread: the windows are copied before they are looked at.
        """
        if not self._steps:
            return None
        validation = statistics.median(list(self._validations)) if self._validations else 0.0
        return statistics.median(list(self._steps)) * steps + validation * validations
