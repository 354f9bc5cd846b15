"""TensorBoard event files beside the checkpoints."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path

from tensorboardX.event_file_writer import EventsWriter
from tensorboardX.proto.event_pb2 import Event, SessionLog
from tensorboardX.proto.summary_pb2 import Summary

from vprtrain.callbacks.writing import writing
from vprtrain.engine import Callback, Engine

FLUSHED_EVERY = 120.0
"""Seconds; to flush waits for the disk, which not every log point should."""


class TensorBoard(Callback):
    """Writes what is logged of training (``train/``) and of validation (``validation/``) into the
    run directory.

    The events are written in this thread: tensorboardX's ``SummaryWriter`` has one of its own,
    which a full disk ends without a word, and the training waits for it ever after.
    """

    def __init__(self) -> None:
        self._writer: EventsWriter | None = None
        self._path = Path()
        self._flushed_at = 0.0

    def on_fit_start(self, engine: Engine) -> None:
        if engine.run_dir is None:
            return
        step = engine.progress.step
        self._path = engine.run_dir / "events"  # and more: the time, the host, the suffix
        with writing(self._path):
            self._writer = EventsWriter(str(self._path), f".{step}")
        # What a killed run logged beyond its last checkpoint is logged again: TensorBoard hides it
        # from there on.
        self._put(engine, Event(step=step + 1, session_log=SessionLog(status=SessionLog.START)))

    def on_log(self, engine: Engine) -> None:
        module = engine.module
        values = dict(engine.scalars) | {
            name: module.scheduled_value(name) for name in module.scheduled
        }
        values |= {
            "learning_rate": engine.learning_rate,
            f"{engine.data.unit}_per_second": engine.examples_per_second,
            "data_wait_share": engine.stopwatch.data_wait_share,
        }
        self._put_scalars(engine, "train", values)

    def on_validation_end(self, engine: Engine, metrics: Mapping[str, float] | None) -> None:
        if metrics is not None:
            self._put_scalars(engine, "validation", metrics)

    def on_fit_end(self, engine: Engine) -> None:
        if self._writer is not None:
            writer, self._writer = self._writer, None
            with writing(self._path):
                writer.close()

    def _put_scalars(self, engine: Engine, group: str, values: Mapping[str, float]) -> None:
        """All values as one event: an event for each would take several times as long."""
        scalars = [
            Summary.Value(tag=f"{group}/{name}", simple_value=value)
            for name, value in values.items()
        ]
        self._put(engine, Event(step=engine.progress.step, summary=Summary(value=scalars)))

    def _put(self, engine: Engine, event: Event) -> None:
        if self._writer is None:
            return
        event.wall_time = time.time()
        with writing(self._path):
            self._writer.write_event(event)
            if engine.clock() - self._flushed_at >= FLUSHED_EVERY:
                self._flushed_at = engine.clock()
                self._writer.flush()
