"""``metrics.jsonl``: the run's numbers, one JSON object a line, part of the run's state."""

from __future__ import annotations

import json
import logging
import math
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO

from vprtrain.callbacks.writing import writing
from vprtrain.checkpoint.snapshot import Snapshot
from vprtrain.engine import Callback, Engine

log = logging.getLogger(__name__)

METRICS_FILE = "metrics.jsonl"


class JsonlLog(Callback):
    """Appends a line at each log point and validation.

    A checkpoint holds how long the file was; a resume cuts it back to there, so that it reads as if
    the run had never been interrupted. What depends on the clock stands under ``time``; what is not
    finite is ``null``.
    """

    def __init__(self) -> None:
        self._file: BinaryIO | None = None

    def on_fit_start(self, engine: Engine) -> None:
        if engine.run_dir is None:
            return
        committed = 0 if engine.opened is None else engine.opened.state.metrics_offset or 0
        path = engine.run_dir / METRICS_FILE
        with writing(path):
            # Unbuffered: for whoever follows the file, and so that nothing is left to be written
            # when fit ends.
            self._file = open(path, "ab", buffering=0)  # noqa: SIM115 - closed when fit ends
            size = path.stat().st_size
            if size < committed:
                log.warning(
                    "%s is shorter (%d bytes) than when the checkpoint was taken (%d)",
                    path,
                    size,
                    committed,
                )
            self._file.truncate(min(size, committed))
            self._file.seek(0, os.SEEK_END)

    def on_log(self, engine: Engine) -> None:
        module, watch = engine.module, engine.stopwatch
        values = dict(engine.scalars) | {
            name: module.scheduled_value(name) for name in module.scheduled
        }
        values["learning_rate"] = engine.learning_rate
        times = {
            f"{engine.data.unit}_per_second": round(engine.examples_per_second, 3),
            "data_wait_share": round(watch.data_wait_share, 4),
            "eta_seconds": engine.live.eta_seconds,
        }
        self._write(engine, "train", values, times)

    def on_validation_end(self, engine: Engine, metrics: Mapping[str, float] | None) -> None:
        if metrics is not None:
            self._write(engine, "validation", metrics, {})

    def on_commit(self, engine: Engine, snapshot: Snapshot) -> None:
        if self._file is not None:
            with writing(Path(self._file.name)):
                os.fsync(self._file.fileno())
            snapshot.state = replace(snapshot.state, metrics_offset=self._file.tell())

    def on_fit_end(self, engine: Engine) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def _write(
        self, engine: Engine, kind: str, values: Mapping[str, float], times: Mapping[str, Any]
    ) -> None:
        if self._file is None:
            return
        position = {"kind": kind, "epoch": engine.progress.epoch, "step": engine.progress.step}
        # JSON knows no infinity, which float16's gradients reach now and then
        numbers = {name: value if math.isfinite(value) else None for name, value in values.items()}
        line = (json.dumps({**position, **numbers, "time": dict(times)}) + "\n").encode()
        with writing(Path(self._file.name)):
            written = self._file.write(line)
            while written < len(line):  # the disk is nearly full: the next call says so
                written += self._file.write(line[written:])
