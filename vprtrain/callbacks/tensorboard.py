"""TensorBoard event files in the run directory."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path

from tensorboardX.event_file_writer import EventsWriter
from tensorboardX.proto.event_pb2 import Event, SessionLog
from tensorboardX.proto.summary_pb2 import Summary

from vprtrain.callbacks.scalar_log import ScalarLog
from vprtrain.callbacks.writing import writing
from vprtrain.engine import Run, ValidationRun

FLUSHED_EVERY = 120.0
"""Seconds. Flushing waits for the disk, so it is not done at every log point."""


class TensorBoard(ScalarLog):
    """Writes the logged values of training (``train/``) and of validation (``validation/``) to the
    run directory.

    The events are written in the training thread. tensorboardX's ``SummaryWriter`` has a thread of
    its own, which a full disk ends silently; training then waits for that thread forever.
    """

    role = "the TensorBoard events"

    def __init__(self) -> None:
        self._writer: EventsWriter | None = None
        self._path = Path()
        self._flushed_at = 0.0

    def on_fit_start(self, run: Run) -> None:
        if run.run_dir is None:
            return
        step = run.progress.step
        self._path = run.run_dir / "events"  # a prefix: EventsWriter appends time, host and suffix
        with writing(self._path):
            self._writer = EventsWriter(str(self._path), f".{step}")
        # A killed run has logged steps after its last checkpoint, which are now logged again. This
        # event makes TensorBoard hide the old ones.
        self._put(run, Event(step=step + 1, session_log=SessionLog(status=SessionLog.START)))

    def on_fit_end(self, run: Run) -> None:
        if self._writer is not None:
            writer, self._writer = self._writer, None
            with writing(self._path):
                writer.close()

    def write(self, run: ValidationRun, group: str, values: Mapping[str, float]) -> None:
        # one event for all of them, which is several times faster than one event each
        scalars = [
            Summary.Value(tag=f"{group}/{name}", simple_value=value)
            for name, value in values.items()
        ]
        self._put(run, Event(step=run.progress.step, summary=Summary(value=scalars)))

    def _put(self, run: ValidationRun, event: Event) -> None:
        if self._writer is None:
            return
        event.wall_time = time.time()
        with writing(self._path):
            self._writer.write_event(event)
            if run.settings.clock() - self._flushed_at >= FLUSHED_EVERY:
                self._flushed_at = run.settings.clock()
                self._writer.flush()
