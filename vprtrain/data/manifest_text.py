"""Splitting the text of a manifest into columns, fast where all lines are alike."""

from __future__ import annotations

import hashlib
import math
from codecs import BOM_UTF8
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from vprtrain.errors import UsageError, shown
from vprtrain.lists import (
    encoding_error,
    foreign_path_error,
    is_foreign,
    lines_where,
    read_blocks,
    refuse_header,
)

TRAINING = "path<TAB>speaker[<TAB>seconds]"
"""The lines of a training manifest."""

EVALUATION = "id<TAB>path[<TAB>seconds]"
"""The lines of an evaluation manifest."""

_TAB, _NEWLINE = np.frombuffer(b"\t\n", dtype=np.uint8)


class Columns(NamedTuple):
    """The columns of consecutive lines of a manifest."""

    first: list[str]
    second: list[str]
    seconds: np.ndarray
    """float32; NaN where a line has no duration"""


def read_columns(path: Path, form: str, digest: hashlib._Hash | None = None) -> Iterator[Columns]:
    """All lines of a manifest that are not blank, a block at a time; its bytes update the
    digest."""
    count = 0
    for number, block in read_blocks(path, f"a manifest with lines of {form}"):
        if digest is not None:
            digest.update(block)
        columns = _split_alike(block) or _split_each(block, number, path, form)
        if columns.first and not count:
            refuse_header(path, number, [columns.first[0], columns.second[0]])
        if b"\\" in block or _has(block, b":/"):
            _refuse_foreign_path(path, form, columns)
        count += len(columns.first)
        yield columns
    if not count:
        raise UsageError(f"{path}: the manifest is empty; expected lines of {form}")


def _refuse_foreign_path(path: Path, form: str, columns: Columns) -> None:
    """Refuse a path of Windows or an address, and name its line."""
    place = 0 if form == TRAINING else 1
    written = next((each for each in columns[place] if is_foreign(each, path.parent)), None)
    if written is not None:

        def names_it(line: str) -> bool:
            return written in line.split("\t")

        raise foreign_path_error(f"{path}, {lines_where(path, form, names_it)}", written)


def _has(block: bytes, part: bytes) -> bool:
    """Whether a part is in a block. To look for one byte is much faster, and mostly enough."""
    return part[:1] in block and part in block


def _split_alike(block: bytes) -> Columns | None:
    """The columns of a block, fast, if all its lines have two columns or all have three; ``None``
    if anything is unusual."""
    width = 1 + block[: block.find(b"\n")].count(b"\t")
    characters = np.frombuffer(block, dtype=np.uint8)
    ends = np.flatnonzero(characters - _TAB < 2)  # of columns: tabs and line ends; below 9 wraps
    if (
        width not in (2, 3)
        or len(ends) % width
        or ends[-1] + 1 != len(block)
        or b"\r" in block
        or _has(block, BOM_UTF8)
    ):
        return None
    newlines = characters[ends[width - 1 :: width]] == _NEWLINE
    is_empty = ends[0] == 0 or (np.diff(ends) == 1).any()
    if is_empty or not newlines.all() or block.count(b"\n") != len(newlines):
        return None
    try:
        fields = block[:-1].decode().replace("\n", "\t").split("\t")
        seconds = (
            np.fromiter(map(float, fields[2::3]), dtype=np.float32, count=len(newlines))
            if width == 3
            else np.full(len(newlines), np.nan, dtype=np.float32)
        )
    except ValueError:  # not UTF-8, not a number
        return None
    if (seconds <= 0).any() or np.isinf(seconds).any():
        return None
    return Columns(fields[::width], fields[1::width], seconds)


def _split_each(block: bytes, start: int, path: Path, form: str) -> Columns:
    """The columns of a block whose first line has the number ``start``, line by line; the message
    names a malformed line."""
    first, second, durations = [], [], []
    for number, line in enumerate(block.split(b"\n"), start):
        try:
            text = line.removeprefix(BOM_UTF8).decode()
        except UnicodeDecodeError as error:
            raise encoding_error(path, number, f"lines of {form}") from error
        fields = text.rstrip("\r").split("\t")
        if fields == [""]:
            continue
        try:
            seconds = float(fields[2]) if len(fields) == 3 else math.nan
        except ValueError:
            fields, seconds = [], math.nan
        if (
            not 2 <= len(fields) <= 3
            or not fields[0]
            or not fields[1]
            or seconds <= 0
            or not (math.isnan(seconds) or 1e-6 < seconds < 1e9)
        ):
            commas = " (columns are separated by tabs, not by commas)" * ("," in text)
            raise UsageError(
                f"{path}, line {number}: expected {form}, found {shown(text, 200)}{commas}"
            )
        first.append(fields[0])
        second.append(fields[1])
        durations.append(seconds)
    return Columns(first, second, np.array(durations, dtype=np.float32))
