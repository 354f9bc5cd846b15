"""Manifests: text files that list recordings and their speakers or ids.

Training: one line per utterance, ``path<TAB>speaker[<TAB>seconds]``; ppvector's ``path<TAB>integer
label`` has the same form. Evaluation: ``id<TAB>path[<TAB>seconds]``; trials name the ids. The text
is UTF-8; relative paths start at the manifest's folder.
"""

from __future__ import annotations

import hashlib
import math
import os
from array import array
from codecs import BOM_UTF8
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np

from vprtrain.errors import UsageError
from vprtrain.files import StrPath, replacing

_BLOCK = 1 << 22  # bytes that are split into columns at once
_TAB, _NEWLINE = b"\t\n"


@dataclass(frozen=True, slots=True)
class Utterance:
    """One recording of one speaker."""

    path: str
    speaker: str
    duration: float | None = None
    """Seconds; ``None`` if the manifest has no duration"""


@dataclass(frozen=True, kw_only=True, eq=False)
class Manifest:
    """Utterances in the order of their lines, stored as columns because there may be a million."""

    path: Path
    speakers: tuple[str, ...]
    """Sorted (as numbers if all are numbers); a speaker's index here is the class index."""
    labels: np.ndarray
    """int32 ``[utterances]``, indices in :attr:`speakers`"""
    durations: np.ndarray
    """float32 ``[utterances]`` in seconds; NaN where the manifest has no duration"""
    sha256: str
    """Of the manifest's text"""
    written_paths: list[str] = field(repr=False)
    """As in the manifest, possibly relative"""

    def __len__(self) -> int:
        return len(self.written_paths)

    def __getitem__(self, index: int) -> Utterance:
        duration = float(self.durations[index])
        return Utterance(
            path=os.path.join(self.path.parent, self.written_paths[index]),
            speaker=self.speakers[self.labels[index]],
            duration=None if math.isnan(duration) else duration,
        )

    def require_speakers(self, count: int) -> None:
        """Raise :class:`UsageError` if there are fewer speakers."""
        if len(self.speakers) < count:
            raise UsageError(
                f"{self.path}: found {len(self.speakers)} speaker(s) in {len(self)} utterances, "
                f"expected at least {count}; the second column names the speaker"
            )


@dataclass(frozen=True, slots=True)
class Recording:
    """A recording that trials name by an id."""

    path: str
    duration: float | None = None
    """Seconds; ``None`` if the manifest has no duration"""


def read_manifest(path: StrPath) -> Manifest:
    """Read a training manifest. A million lines take about two seconds.

    Raises:
        UsageError: the file is missing, empty or malformed.
    """
    paths: list[str] = []
    labels = array("i")
    durations: list[np.ndarray] = []
    first_seen: dict[str, int] = {}
    digest = hashlib.sha256()
    for columns in _blocks(Path(path), "path<TAB>speaker[<TAB>seconds]", digest):
        paths += columns.first
        durations.append(columns.seconds)
        for speaker in dict.fromkeys(columns.second):
            first_seen.setdefault(speaker, len(first_seen))
        labels.extend(map(first_seen.__getitem__, columns.second))
    speakers = (
        sorted(first_seen, key=int) if all(map(str.isdecimal, first_seen)) else sorted(first_seen)
    )
    place = np.empty(len(speakers), dtype=np.int32)
    place[[first_seen[speaker] for speaker in speakers]] = np.arange(len(speakers))
    return Manifest(
        path=Path(path),
        speakers=tuple(speakers),
        labels=place[np.frombuffer(labels, dtype=np.int32)],
        durations=np.concatenate(durations),
        sha256=digest.hexdigest(),
        written_paths=paths,
    )


def read_recordings(path: StrPath) -> dict[str, Recording]:
    """Read an evaluation manifest: id -> recording.

    Raises:
        UsageError: the file is missing, empty or malformed, or an id occurs twice.
    """
    folder = Path(path).parent
    recordings: dict[str, Recording] = {}
    for columns in _blocks(Path(path), "id<TAB>path[<TAB>seconds]"):
        for key, written, seconds in zip(*columns, strict=True):
            if key in recordings:
                raise UsageError(
                    f"{path}: the id {key!r} occurs twice; expected one recording for every id"
                )
            duration = None if math.isnan(seconds) else float(seconds)
            recordings[key] = Recording(os.path.join(folder, written), duration)
    return recordings


def write_manifest(path: StrPath, rows: Iterable[tuple[str, str, float | None]]) -> None:
    """Write a manifest of either kind. An existing file is replaced when the new one is complete.

    Args:
        rows: the two columns, and the duration in seconds if it is known.

    Raises:
        UsageError: a name contains a tab or a line break, which a manifest cannot hold.
    """
    with (
        replacing(Path(path)) as temporary,
        open(temporary, "w", encoding="utf-8", newline="\n") as file,
    ):
        for first, second, duration in rows:
            if any(character in first + second for character in "\t\n\r"):
                raise UsageError(f"{first!r}, {second!r}: a tab or line break in a name; rename it")
            seconds = "" if duration is None else f"\t{duration:.3f}"
            file.write(f"{first}\t{second}{seconds}\n")


def file_sha256(path: StrPath) -> str:
    """Hexadecimal SHA-256 of a file's content."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


class _Columns(NamedTuple):
    """The columns of consecutive lines of a manifest."""

    first: list[str]
    second: list[str]
    seconds: np.ndarray
    """float32; NaN where a line has no duration"""


def _blocks(path: Path, form: str, digest: hashlib._Hash | None = None) -> Iterator[_Columns]:
    """All lines of a manifest that are not blank, a block at a time; its bytes update the
    digest."""
    if not path.is_file():
        raise UsageError(f"{path}: no such file; expected a manifest with lines of {form}")
    lines_before = count = 0
    with open(path, "rb") as file:
        while block := file.read(_BLOCK):
            block += file.readline()
            if digest is not None:
                digest.update(block)
            columns = _split_alike(block) or _split_each(block, lines_before, path, form)
            lines_before += block.count(b"\n")
            count += len(columns.first)
            yield columns
    if not count:
        raise UsageError(f"{path}: the manifest is empty; expected lines of {form}")


def _split_alike(block: bytes) -> _Columns | None:
    """The columns of a block, fast, if all its lines have two columns or all have three; ``None``
    if anything is unusual."""
    width = 1 + block[: block.find(b"\n")].count(b"\t")
    characters = np.frombuffer(block, dtype=np.uint8)
    ends = np.flatnonzero((characters == _TAB) | (characters == _NEWLINE))
    if (
        width not in (2, 3)
        or len(ends) % width
        or ends[-1] + 1 != len(block)
        or b"\r" in block
        or BOM_UTF8 in block
    ):
        return None
    separators = characters[ends].reshape(-1, width)
    lengths = np.diff(ends, prepend=-1).reshape(-1, width) - 1
    if (
        (separators[:, :-1] != _TAB).any()
        or (separators[:, -1] != _NEWLINE).any()
        or not lengths.all()
    ):
        return None
    try:
        fields = block[:-1].decode().replace("\n", "\t").split("\t")
        seconds = np.array(
            fields[2::3] if width == 3 else [math.nan] * len(lengths), dtype=object
        ).astype(np.float32)
    except ValueError:  # not UTF-8, not a number
        return None
    if (seconds <= 0).any() or np.isinf(seconds).any():
        return None
    return _Columns(fields[::width], fields[1::width], seconds)


def _split_each(block: bytes, lines_before: int, path: Path, form: str) -> _Columns:
    """The columns of a block, line by line; the message names a malformed line."""
    first, second, durations = [], [], []
    for number, line in enumerate(block.split(b"\n"), lines_before + 1):
        try:
            fields = line.removeprefix(BOM_UTF8).decode().rstrip("\r").split("\t")
            if fields == [""]:
                continue
            seconds = float(fields[2]) if len(fields) == 3 else math.nan
        except ValueError:  # not UTF-8, not a number
            fields, seconds = [], math.nan
        if (
            not 2 <= len(fields) <= 3
            or not fields[0]
            or not fields[1]
            or seconds <= 0
            or math.isinf(seconds)
        ):
            raise UsageError(f"{path}, line {number}: expected {form}, found {line[:200]!r}")
        first.append(fields[0])
        second.append(fields[1])
        durations.append(seconds)
    return _Columns(first, second, np.array(durations, dtype=np.float32))
