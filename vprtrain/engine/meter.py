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
    """The mean loss since the last log point. Its sum is a device scalar; a non-finite loss stays visible in it."""

    def __init__(self) -> None:
        self._sum: paddle.Tensor | None = None
        self._count = 0

    def add(self, loss: paddle.Tensor) -> None:
        """Take in a step's loss, without looking at it."""
        self._sum = loss if self._sum is None else self._sum + loss
        self._count += 1

    def read(self, scalars: Scalars) -> dict[str, float]:
        """The mean loss and the given scalars as numbers, fetched from the device together."""
        if self._sum is None:
            return {}
        tensors = {"loss": self._sum, **scalars}
        stacked = paddle.stack([tensor.astype("float32").reshape([]) for tensor in tensors.values()])
        values = dict(zip(tensors, stacked.numpy().astype(np.float64).tolist(), strict=True))
        return {**values, "loss": values["loss"] / self._count}

    def reset(self) -> None:
        """Begin a new interval."""
        self._sum, self._count = None, 0

    def state_dict(self) -> dict[str, Any]:
        """The interval so far, exact, so that the log of a resumed run equals the uninterrupted one's."""
        return {"sum": None if self._sum is None else self._sum.item(), "count": self._count}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on with a saved interval."""
        self._count = state["count"]
        self._sum = None if state["sum"] is None else paddle.to_tensor(state["sum"], dtype="float32")


class Stopwatch:
    """Seconds a step waited for data and took in all, over a window of recent steps; validation apart."""

    WINDOW = 500

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._started = clock()
        self._waits: deque[float] = deque(maxlen=self.WINDOW)
        self._steps: deque[float] = deque(maxlen=self.WINDOW)
        self._examples: deque[int] = deque(maxlen=self.WINDOW)
        self._validations: deque[float] = deque(maxlen=20)

    def start(self) -> None:
        """A step begins: it will now wait for data."""
        self._started = self._clock()

    def fetched(self) -> None:
        """The data is there."""
        self._waits.append(self._clock() - self._started)

    def stepped(self, examples: int) -> None:
        """The step is done."""
        self._steps.append(self._clock() - self._started)
        self._examples.append(examples)

    def validated(self, seconds: float) -> None:
        """A validation took this long."""
        self._validations.append(seconds)

    @property
    def examples_per_second(self) -> float:
        """Throughput over the window, waits included."""
        return sum(self._examples) / max(sum(self._steps), 1e-9)

    @property
    def data_wait_share(self) -> float:
        """The share of the window that was spent waiting for data, 0 to 1."""
        return sum(self._waits) / max(sum(self._steps), 1e-9)

    def eta(self, steps: int, validations: int) -> float | None:
        """Seconds that this many more steps and validations will take, by the medians; ``None`` before the first.

        From any thread: the windows are copied before they are looked at.
        """
        if not self._steps:
            return None
        validation = statistics.median(list(self._validations)) if self._validations else 0.0
        return statistics.median(list(self._steps)) * steps + validation * validations
