"""Segments of a recording as text: RTTM, JSON, CSV, and labels for Audacity.

Times are written in milliseconds' resolution.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from vprtrain.errors import UsageError, require_choice, shown
from vprtrain.files import StrPath, write_atomic
from vprtrain.lists.rttm import Span
from vprtrain.lists.segment import Segment


class SegmentFormat(NamedTuple):
    """A text format for segments."""

    suffix: str
    """The suffix of a file with this format."""
    write: Callable[[Sequence[Segment], str], str]
    """From the segments and the name of their recording to the text."""


def segments_text(segments: Sequence[Segment], form: str, *, recording: str) -> str:
    """The segments of a recording as text.

    Args:
        form: a key of :data:`SEGMENT_FORMATS`.
        recording: the recording's name, which only RTTM holds.

    Raises:
        UsageError: the format is unknown, or RTTM cannot tell two of the names apart.
    """
    require_choice("format", form, SEGMENT_FORMATS)
    return SEGMENT_FORMATS[form].write(segments, recording)


def write_segments(path: StrPath, segments: Sequence[Segment], *, recording: str) -> None:
    """Write the segments of a recording to a file. The suffix of its name chooses the format:
    ``.rttm``, ``.json``, ``.csv`` or, for Audacity, ``.txt``.

    Raises:
        UsageError: another suffix, or as :func:`segments_text`.
        OSError: the file cannot be written.
    """
    text = segments_text(segments, segment_format(path), recording=recording)
    # A surrogate, of a file name that is not UTF-8, becomes the same escape as in JSON.
    write_atomic(Path(path), text.encode(errors="backslashreplace"))


def segment_format(path: StrPath) -> str:
    """The format that the suffix of a file's name stands for.

    Raises:
        UsageError: it stands for none.
    """
    suffix = Path(path).suffix.lower()
    for name, form in SEGMENT_FORMATS.items():
        if form.suffix == suffix:
            return name
    known = ", ".join(f"{form.suffix} ({name})" for name, form in SEGMENT_FORMATS.items())
    raise UsageError(f"{path}: the suffix {shown(suffix)} stands for no format; expected {known}")


def uem_text(recording: str, spans: Sequence[Span]) -> str:
    """The scored parts of a recording as lines of a UEM file."""
    return "".join(f"{_one_word(recording)} 1 {span.start:.3f} {span.end:.3f}\n" for span in spans)


def _rttm(segments: Sequence[Segment], recording: str) -> str:
    names: dict[str, str] = {}
    for segment in segments:
        other = names.setdefault(_one_word(segment.speaker), segment.speaker)
        if other != segment.speaker:
            raise UsageError(
                f"the names {shown(other)} and {shown(segment.speaker)} are the same in RTTM, "
                "which has no blanks: choose json or csv, or rename one"
            )
    lines = []
    for segment in segments:
        start, end = _milliseconds(segment)
        lines.append(
            f"SPEAKER {_one_word(recording)} 1 {start / 1000:.3f} {(end - start) / 1000:.3f} "
            f"<NA> <NA> {_one_word(segment.speaker)} <NA> <NA>\n"
        )
    return "".join(lines)


def _json(segments: Sequence[Segment], recording: str) -> str:
    rows = [
        {"start": start, "end": end, "speaker": speaker} for start, end, speaker in _rows(segments)
    ]
    return json.dumps({"segments": rows}, indent=2, ensure_ascii=False) + "\n"


def _csv(segments: Sequence[Segment], recording: str) -> str:
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(("start", "end", "speaker"))
    writer.writerows(_rows(segments))
    return file.getvalue()


def _audacity(segments: Sequence[Segment], recording: str) -> str:
    return "".join(
        f"{start:.3f}\t{end:.3f}\t{' '.join(speaker.split())}\n"
        for start, end, speaker in _rows(segments)
    )


def _rows(segments: Sequence[Segment]) -> list[tuple[float, float, str]]:
    """Start and end, in seconds, and the speaker."""
    times = ((*_milliseconds(segment), segment.speaker) for segment in segments)
    return [(start / 1000, end / 1000, speaker) for start, end, speaker in times]


def _milliseconds(segment: Segment) -> tuple[int, int]:
    """Start and end, at least one millisecond apart."""
    start = round(1000 * segment.start)
    return start, max(start + 1, round(1000 * segment.end))


def _one_word(name: str) -> str:
    """A name as a column of a file whose columns are separated by blanks."""
    return "_".join(name.split()) or "_"


SEGMENT_FORMATS = {
    "rttm": SegmentFormat(".rttm", _rttm),
    "json": SegmentFormat(".json", _json),
    "csv": SegmentFormat(".csv", _csv),
    "audacity": SegmentFormat(".txt", _audacity),
}
"""The formats by name."""
