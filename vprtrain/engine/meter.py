"""Meters of training: the mean loss, kept on the device, and where the time goes."""

from __future__ import annotations

import statistics
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

import paddle

from vprtrain.engine.module import Scalars
from vprtrain.engine.scalars import as_float


class LossMeter:
    """The mean loss since the last log point. Losses stay on the device until :meth:`read`, but at
    most :data:`MOST_ON_DEVICE` of them."""

    MOST_ON_DEVICE = 1000
    """Steps; one fetch in so many costs nothing, and memory is bounded for any ``log_every``."""

    def __init__(self) -> None:
        self._pending: list[paddle.Tensor] = []
        self._sum = 0.0
        self._count = 0

    def add(self, loss: paddle.Tensor) -> None:
        """Add a step's loss, as a rule without fetching it."""
        self._pending.append(loss)
        if len(self._pending) >= self.MOST_ON_DEVICE:
            self.read({})

    def read(self, scalars: Scalars) -> dict[str, float]:
        """The mean loss and the given scalars as numbers, fetched from the device together.

        Empty if no loss was added since :meth:`reset`.
        """
        if not self._pending and not self._count:
            return {}
        on_device = {name: one for name, one in scalars.items() if isinstance(one, paddle.Tensor)}
        tensors = [paddle.stack(self._pending)] if self._pending else []
        fetched = _fetch([*tensors, *on_device.values()])
        losses, values = fetched[: len(self._pending)], fetched[len(self._pending) :]
        # Added one by one, so that a sum continued from a checkpoint has the same bits.
        for loss in losses:
            self._sum += loss
        self._count += len(losses)
        self._pending.clear()
        fetched_scalars = dict(zip(on_device, values, strict=True))
        return {"loss": self._sum / self._count} | {
            name: as_float(fetched_scalars.get(name, value)) for name, value in scalars.items()
        }

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


def _fetch(tensors: Sequence[paddle.Tensor]) -> list[float]:
    """All elements of the tensors, in one transfer. float64 holds every float32 exactly."""
    if not tensors:
        return []
    joined = paddle.concat([tensor.astype("float64").flatten() for tensor in tensors])
    numbers: list[float] = joined.numpy().tolist()
    return numbers
