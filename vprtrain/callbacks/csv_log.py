"""``metrics.csv``: the run's numbers for spreadsheets and data frames."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from vprtrain.callbacks.file_log import FileLog
from vprtrain.callbacks.scalar_log import VALIDATION
from vprtrain.engine import ValidationRun

HEADER = b"kind,epoch,step,name,value\n"

_ROW = re.compile(rb"(?P<kind>\w+),\d+,(?P<step>\d+),.*\n")


class CsvLog(FileLog):
    """Appends a row for each number of a log point or validation.

    A row is ``kind,epoch,step,name,value``, so a number that appears late needs no new column. A
    resume cuts off the rows that it logs again.
    """

    role = "metrics.csv"
    path = Path("metrics.csv")

    def header(self, run_dir: Path) -> bytes:
        return HEADER

    def encode(self, run: ValidationRun, group: str, values: Mapping[str, float]) -> bytes:
        position = (group, run.progress.epoch + 1, run.progress.step)
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows(
            (*position, *item) for item in values.items()
        )
        return text.getvalue().encode()

    def entries(self, data: bytes) -> Iterator[tuple[int, bool, int]]:
        if data.startswith(HEADER):
            yield len(HEADER), False, 0
            row = _ROW.match(data, len(HEADER))
            while row is not None:
                yield row.end(), row["kind"].decode() == VALIDATION, int(row["step"])
                row = _ROW.match(data, row.end())
