"""Who speaks when, in the files of NIST's evaluations: RTTM (segments of speakers) and UEM (the
parts of recordings that are scored).

Both have one line a segment, with columns that are separated by blanks::

    SPEAKER recording channel start duration <NA> <NA> speaker <NA> <NA>
    recording channel start end

Times are seconds. Text after ``;;`` is a comment. The channel is ignored. A file may hold several
recordings.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from vprtrain.errors import UsageError, shown
from vprtrain.files import StrPath
from vprtrain.lists.segment import Segment
from vprtrain.lists.text import read_lines

RTTM_LINE = "SPEAKER recording channel start duration <NA> <NA> speaker <NA> <NA>"
UEM_LINE = "recording channel start end"

_OTHER_TYPES = frozenset(
    {"SEGMENT", "NOSCORE", "NO_RT_METADATA", "LEXEME", "NON-LEX", "NON-SPEECH", "FILLER", "EDIT"}
    | {"IP", "SU", "CB", "A/P", "SPKR-INFO"}
)
_COLUMNS = range(8, 11)  # the last two, confidence and lookahead, may be missing
_LATEST = 10_000_000.0  # seconds: above 100 days
_MOST_LINES = 2_000_000  # about 500 MB as segments


class Span(NamedTuple):
    """A part of a recording: ``start`` and ``end`` in seconds."""

    start: float
    end: float


def read_rttm(path: StrPath) -> dict[str, list[Segment]]:
    """Read an RTTM file.

    Lines of RTTM's other types (``SPKR-INFO``, ``LEXEME``, ...) are skipped, and so are segments
    with a duration of zero.

    Returns:
        The segments of each recording, sorted by their start. It is empty for an empty file: a
        system that found no speech writes one.

    Raises:
        UsageError: the file is missing or too long, or a line is malformed.
    """
    recordings: dict[str, list[Segment]] = {}
    for where, columns in _read_columns(path, RTTM_LINE):
        if columns[0] in _OTHER_TYPES:
            continue
        if columns[0] != "SPEAKER" or len(columns) not in _COLUMNS or columns[7] == "<NA>":
            raise _unexpected(where, RTTM_LINE, columns)
        start, duration = (_seconds(text, where, RTTM_LINE) for text in columns[3:5])
        segments = recordings.setdefault(columns[1], [])
        if duration > 0:
            segments.append(Segment(start, start + duration, columns[7]))
    for segments in recordings.values():
        segments.sort()
    return recordings


def read_uem(path: StrPath) -> dict[str, list[Span]]:
    """Read a UEM file.

    Returns:
        The scored parts of each recording, sorted by their start.

    Raises:
        UsageError: the file is missing, empty or too long, or a line is malformed.
    """
    recordings: dict[str, list[Span]] = {}
    for where, columns in _read_columns(path, UEM_LINE):
        if len(columns) != 4:
            raise _unexpected(where, UEM_LINE, columns)
        start, end = (_seconds(text, where, UEM_LINE) for text in columns[2:])
        if end <= start:
            raise UsageError(f"{where}: the end {end:g} is not after the start {start:g}")
        recordings.setdefault(columns[0], []).append(Span(start, end))
    if not recordings:
        raise UsageError(f"{path}: empty; expected lines of {UEM_LINE!r}")
    for spans in recordings.values():
        spans.sort()
    return recordings


def _read_columns(path: StrPath, form: str) -> Iterator[tuple[str, list[str]]]:
    """The place, for messages, and the columns of each line that is not a comment."""
    count = 0
    for number, line in read_lines(path, f"lines of {form!r}"):
        columns = line.partition(";;")[0].split()
        if not columns:
            continue
        count += 1
        if count > _MOST_LINES:
            raise UsageError(
                f"{path}, line {number}: more than {_MOST_LINES:,} segments; split the file"
            )
        yield f"{path}, line {number}", columns


def _seconds(text: str, where: str, form: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= _LATEST:  # also refuses NaN
        raise UsageError(
            f"{where}: {shown(text)} is not a time; expected {form!r} with seconds from 0 to "
            f"{_LATEST:,.0f}"
        )
    return value


def _unexpected(where: str, form: str, columns: list[str]) -> UsageError:
    return UsageError(f"{where}: expected {form!r}, found {shown(' '.join(columns))}")
