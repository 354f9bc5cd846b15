"""``metrics.jsonl``: the run's numbers, one JSON object per line. The file is part of the run's
state."""

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
from vprtrain.engine import Callback, Run, ValidationRun
from vprtrain.files import free_name

log = logging.getLogger(__name__)

METRICS_FILE = "metrics.jsonl"


class JsonlLog(Callback):
    """Appends a line at each log point and validation.

    A checkpoint holds the file's length. A resume truncates the file to that length, so that it
    reads as if the run had never been interrupted. Values that depend on the clock are under
    ``time``; values that are not finite are ``null``.
    """

    role = "metrics.jsonl"

    def __init__(self) -> None:
        self._file: BinaryIO | None = None

    def on_fit_start(self, run: Run) -> None:
        if run.run_dir is None:
            return
        committed = 0 if run.opened is None else run.opened.state.metrics_offset or 0
        path = run.run_dir / METRICS_FILE
        with writing(path):
            if run.opened is None and path.exists() and path.stat().st_size > 0:
                aside = path.rename(free_name(path, ".aside"))
                log.warning("%s was of an earlier run: kept as %s", path, aside.name)
            # Unbuffered, so that readers see each line at once and closing has nothing to write.
            self._file = open(path, "ab", buffering=0)  # noqa: SIM115 - closed in on_fit_end
            size = path.stat().st_size
            if size < committed:
                log.warning(
                    "%s has %d bytes, fewer than when the checkpoint was taken (%d)",
                    path,
                    size,
                    committed,
                )
            self._file.truncate(min(size, committed))
            self._file.seek(0, os.SEEK_END)

    def on_log(self, run: Run) -> None:
        module, watch = run.module, run.stopwatch
        values = dict(run.scalars) | {
            name: module.scheduled_value(name) for name in module.scheduled
        }
        values["learning_rate"] = run.learning_rate
        times = {
            f"{run.data.unit}_per_second": round(run.examples_per_second, 3),
            "data_wait_share": round(watch.data_wait_share, 4),
            "eta_seconds": run.live.eta_seconds,
        }
        self._write(run, "train", values, times)

    def on_validation_end(self, run: ValidationRun, metrics: Mapping[str, float] | None) -> None:
        if metrics is not None:
            self._write(run, "validation", metrics, {})

    def on_commit(self, run: Run, snapshot: Snapshot) -> None:
        if self._file is not None:
            with writing(Path(self._file.name)):
                os.fsync(self._file.fileno())
            snapshot.state = replace(snapshot.state, metrics_offset=self._file.tell())

    def on_fit_end(self, run: Run) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def _write(
        self, run: ValidationRun, kind: str, values: Mapping[str, float], times: Mapping[str, Any]
    ) -> None:
        if self._file is None:
            return
        position = {"kind": kind, "epoch": run.progress.epoch, "step": run.progress.step}
        # JSON has no infinity; gradients in float16 overflow now and then.
        numbers = {name: value if math.isfinite(value) else None for name, value in values.items()}
        line = (json.dumps({**position, **numbers, "time": dict(times)}) + "\n").encode()
        with writing(Path(self._file.name)):
            written = self._file.write(line)
            while written < len(line):  # on a nearly full disk the next call raises
                written += self._file.write(line[written:])
