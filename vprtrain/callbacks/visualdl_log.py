"""VisualDL records in the run directory."""

from __future__ import annotations

import struct
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from vprtrain.callbacks.extras import import_extra
from vprtrain.callbacks.file_log import FileLog
from vprtrain.callbacks.scalar_log import VALIDATION
from vprtrain.engine import ValidationRun

_LENGTH = struct.Struct("<Q")


class VisualDLLog(FileLog):
    """Writes the numbers of training (``train/``) and of validation (``validation/``) for
    ``visualdl --logdir RUN_DIR/visualdl``. Needs ``pip install 'vprtrain[visualdl]'``.

    A resume cuts off the records that it logs again. They are written in the training thread:
    VisualDL's ``LogWriter`` has a thread of its own, which drops what it cannot write, and it
    overwrites the file of the earlier process.

    Raises:
        UsageError: VisualDL is not installed.
    """

    role = "the VisualDL records"
    path = Path("visualdl") / "vdlrecords.vprtrain.log"  # VisualDL looks for "vdlrecords"

    def __init__(self) -> None:
        super().__init__()
        self._record = import_extra("visualdl.proto.record_pb2", "visualdl").Record

    def header(self, run_dir: Path) -> bytes:
        about = self._record.MetaData(display_name=run_dir.name)
        return self._encoded(0, "meta_data_tag", meta_data=about)

    def encode(self, run: ValidationRun, group: str, values: Mapping[str, float]) -> bytes:
        return b"".join(
            self._encoded(run.progress.step, f"{group}/{name}", value=float(value))
            for name, value in values.items()
        )

    def _encoded(self, step: int, tag: str, **content: Any) -> bytes:
        """One record: its length, then itself."""
        now = round(1000 * time.time())
        value = self._record.Value(id=step, tag=tag, timestamp=now, **content)
        data: bytes = self._record(values=[value]).SerializeToString()
        return _LENGTH.pack(len(data)) + data

    def entries(self, data: bytes) -> Iterator[tuple[int, bool, int]]:
        end = 0
        while len(data) >= (begin := end + _LENGTH.size):
            end = begin + _LENGTH.unpack_from(data, end)[0]
            if end > len(data):
                return
            value = self._record.FromString(data[begin:end]).values[0]
            yield end, value.tag.startswith(f"{VALIDATION}/"), value.id
