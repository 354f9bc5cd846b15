"""Counts the values that are fetched from the device, each of which makes the host wait for it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import paddle

from vprtrain.engine import Callback, Run

FETCHES = (
    "numpy",
    "item",
    "tolist",
    "__bool__",
    "__float__",
    "__int__",
    "__array__",
    "__index__",
)


class FetchCounter(Callback):
    """Counts every conversion of a tensor to a value of Python or NumPy, step by step."""

    def __init__(self) -> None:
        self._step = 0
        self.counts: Counter[int] = Counter()
        """The fetches in each step; step 0 is what precedes the first."""
        self._log_points: dict[int, bool] = {}

    def on_train_batch_start(self, run: Run) -> None:
        self._step = run.progress.step + 1

    def on_train_batch_end(self, run: Run) -> None:
        self._log_points[self._step] = run.at_log_point

    def fetched(self, at_log_points: bool) -> int:
        """The fetches in steps of this kind, without the last step and what follows it."""
        return sum(
            self.counts[step]
            for step, is_log_point in self._log_points.items()
            if is_log_point == at_log_points and step < self._step
        )

    @contextmanager
    def counting(self) -> Iterator[None]:
        def counted(method: Callable[..., Any]) -> Callable[..., Any]:
            def wrapper(*args: Any, **kwargs: Any) -> Any:
                self.counts[self._step] += 1
                return method(*args, **kwargs)

            return wrapper

        methods = {name: getattr(paddle.Tensor, name) for name in FETCHES}
        try:
            for name, method in methods.items():
                setattr(paddle.Tensor, name, counted(method))
            yield
        finally:
            for name, method in methods.items():
                setattr(paddle.Tensor, name, method)
