"""VisualDL records in the run directory."""

from __future__ import annotations

import struct
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from vprtrain.callbacks.extras import import_extra
from vprtrain.callbacks.scalar_log import VALIDATION, ScalarLog
from vprtrain.callbacks.writing import LogFile, kept_bytes, writing
from vprtrain.checkpoint.snapshot import Snapshot
from vprtrain.engine import Run, ValidationRun

RECORDS = Path("visualdl") / "vdlrecords.vprtrain.log"  # VisualDL looks for "vdlrecords"

_LENGTH = struct.Struct("<Q")


class VisualDLLog(ScalarLog):
    """Writes the numbers of training (``train/``) and of validation (``validation/``) for
    ``visualdl --logdir RUN_DIR/visualdl``. Needs ``pip install 'vprtrain[visualdl]'``.

    A resume cuts off the records that it logs again. They are written in the training thread:
    VisualDL's ``LogWriter`` has a thread of its own, which drops what it cannot write, and it
    overwrites the file of the earlier process.

    Raises:
        UsageError: VisualDL is not installed.
    """

    role = "the VisualDL records"

    def __init__(self) -> None:
        self._record = import_extra("visualdl.proto.record_pb2", "visualdl").Record
        self._file: LogFile | None = None

    def on_fit_start(self, run: Run) -> None:
        if run.run_dir is None:
            return
        path = run.run_dir / RECORDS
        with writing(path):
            path.parent.mkdir(exist_ok=True)
        kept = kept_bytes(run.opened, self._entries(path))
        self._file = LogFile(path, keep=kept or None)
        if not kept:
            about = self._record.MetaData(display_name=run.run_dir.name)
            self._append(0, "meta_data_tag", meta_data=about)

    def write(self, run: ValidationRun, group: str, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            self._append(run.progress.step, f"{group}/{name}", value=float(value))

    def on_commit(self, run: Run, snapshot: Snapshot) -> None:
        if self._file is not None:
            self._file.sync()

    def on_fit_end(self, run: Run) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def _append(self, step: int, tag: str, **content: Any) -> None:
        """Write one record: its length, then itself."""
        if self._file is not None:
            now = round(1000 * time.time())
            value = self._record.Value(id=step, tag=tag, timestamp=now, **content)
            data = self._record(values=[value]).SerializeToString()
            self._file.append(_LENGTH.pack(len(data)) + data)

    def _entries(self, path: Path) -> Iterator[tuple[int, bool, int]]:
        """Where each record of a file ends, whether it is of a validation, and its step; up to the
        first record that a kill has cut."""
        data = path.read_bytes() if path.exists() else b""
        end = 0
        while len(data) >= (begin := end + _LENGTH.size):
            end = begin + _LENGTH.unpack_from(data, end)[0]
            if end > len(data):
                return
            value = self._record.FromString(data[begin:end]).values[0]
            yield end, value.tag.startswith(f"{VALIDATION}/"), value.id
