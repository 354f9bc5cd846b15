"""A trace of some steps."""

from __future__ import annotations

import paddle
from paddle import profiler

from vprtrain.callbacks.writing import writing
from vprtrain.engine import Callback, Run
from vprtrain.errors import require_at_least


class Profiler(Callback):
    """Records what the host and the device do in some steps, and writes it into the run directory
    as ``trace_<first step>.json``, which chrome://tracing and https://ui.perfetto.dev show.

    Recording slows these steps down and changes no weight.

    Args:
        first_step: the first recorded step, counted from 1. The very first steps of a run are
            slower than the others.
        steps: how many steps to record; every step adds about a megabyte for a large model.

    Raises:
        UsageError: a value is out of range.
    """

    role = "the profile"

    def __init__(self, *, first_step: int = 11, steps: int = 5) -> None:
        require_at_least("Profiler's first_step", first_step, 1)
        require_at_least("Profiler's steps", steps, 1)
        self._first_step = first_step
        self._steps = steps
        self._profiler: profiler.Profiler | None = None

    def on_train_batch_start(self, run: Run) -> None:
        if run.progress.step + 1 == self._first_step and run.run_dir is not None:
            targets = [profiler.ProfilerTarget.CPU]
            if paddle.get_device() != "cpu":
                targets.append(profiler.ProfilerTarget.GPU)
            self._profiler = profiler.Profiler(targets=targets, on_trace_ready=_ignore)
            self._profiler.start()

    def on_train_batch_end(self, run: Run) -> None:
        if self._profiler is None:
            return
        if run.progress.step + 1 == self._first_step + self._steps:
            self._write(run)
        else:
            self._profiler.step()

    def on_fit_end(self, run: Run) -> None:
        if self._profiler is not None:
            self._write(run)

    def _write(self, run: Run) -> None:
        """Write what was recorded."""
        assert self._profiler is not None and run.run_dir is not None
        recorded, self._profiler = self._profiler, None  # Paddle has one profiler at a time
        path = run.run_dir / f"trace_{self._first_step}.json"
        recorded.stop()
        with writing(path):
            recorded.export(str(path), format="json")


def _ignore(_: profiler.Profiler) -> None:
    """Instead of Paddle's default, which writes into the working folder."""
