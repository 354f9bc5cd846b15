"""``metrics.jsonl``: the run's numbers, one JSON object per line. The file is part of the run's
state."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from vprtrain.callbacks.scalar_log import TRAIN, VALIDATION, speed, training_values
from vprtrain.callbacks.writing import LogFile
from vprtrain.checkpoint.snapshot import Snapshot
from vprtrain.engine import Callback, Run, ValidationRun

METRICS_FILE = "metrics.jsonl"


class JsonlLog(Callback):
    """Appends a line at each log point and validation.

    A checkpoint holds the file's length. A resume truncates the file to that length, so that it
    reads as if the run had never been interrupted. Values that depend on the clock are under
    ``time``; values that are not finite are ``null``.
    """

    role = "metrics.jsonl"

    def __init__(self) -> None:
        self._file: LogFile | None = None

    def on_fit_start(self, run: Run) -> None:
        if run.run_dir is not None:
            keep = None if run.opened is None else run.opened.state.metrics_offset or 0
            self._file = LogFile(run.run_dir / METRICS_FILE, keep=keep)

    def on_log(self, run: Run) -> None:
        times = {**speed(run), "eta_seconds": run.live.eta_seconds}
        self._write(run, TRAIN, training_values(run), times)

    def on_validation_end(self, run: ValidationRun, metrics: Mapping[str, float] | None) -> None:
        if metrics is not None:
            self._write(run, VALIDATION, metrics, {})

    def on_commit(self, run: Run, snapshot: Snapshot) -> None:
        if self._file is not None:
            snapshot.state = replace(snapshot.state, metrics_offset=self._file.sync())

    def on_fit_end(self, run: Run) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def _write(
        self, run: ValidationRun, kind: str, values: Mapping[str, float], times: Mapping[str, Any]
    ) -> None:
        if self._file is None:
            return
        position = {"kind": kind, "epoch": run.progress.epoch + 1, "step": run.progress.step}
        # JSON has no infinity; gradients in float16 overflow now and then.
        numbers = {name: value if math.isfinite(value) else None for name, value in values.items()}
        line = json.dumps({**position, **numbers, "time": dict(times)}) + "\n"
        self._file.append(line.encode())
