"""``metrics.csv``: the run's numbers for spreadsheets and data frames."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from vprtrain.callbacks.scalar_log import VALIDATION, ScalarLog
from vprtrain.callbacks.writing import LogFile, kept_bytes
from vprtrain.checkpoint.snapshot import Snapshot
from vprtrain.engine import Run, ValidationRun

CSV_FILE = "metrics.csv"
HEADER = b"kind,epoch,step,name,value\n"

_ROW = re.compile(rb"(?P<kind>\w+),\d+,(?P<step>\d+),.*\n")


class CsvLog(ScalarLog):
    """Appends a row for each number of a log point or validation.

    A row is ``kind,epoch,step,name,value``, so a number that appears late needs no new column. A
    resume cuts off the rows that it logs again.
    """

    role = CSV_FILE

    def __init__(self) -> None:
        self._file: LogFile | None = None

    def on_fit_start(self, run: Run) -> None:
        if run.run_dir is None:
            return
        path = run.run_dir / CSV_FILE
        kept = kept_bytes(run.opened, _entries(path))
        self._file = LogFile(path, keep=kept or None)
        if not kept:
            self._file.append(HEADER)

    def write(self, run: ValidationRun, group: str, values: Mapping[str, float]) -> None:
        if self._file is not None:
            position = (group, run.progress.epoch, run.progress.step)
            self._file.append(_lines([(*position, *item) for item in values.items()]))

    def on_commit(self, run: Run, snapshot: Snapshot) -> None:
        if self._file is not None:
            self._file.sync()

    def on_fit_end(self, run: Run) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None


def _lines(rows: list[tuple[Any, ...]]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue().encode()


def _entries(path: Path) -> Iterator[tuple[int, bool, int]]:
    """Where each row of a file ends, whether it is of a validation, and its step; up to the first
    row that a kill has cut."""
    data = path.read_bytes() if path.exists() else b""
    if data.startswith(HEADER):
        yield len(HEADER), False, 0
        row = _ROW.match(data, len(HEADER))
        while row is not None:
            yield row.end(), row["kind"].decode() == VALIDATION, int(row["step"])
            row = _ROW.match(data, row.end())
