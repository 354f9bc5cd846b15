"""Manifests: the text files that say which recordings there are and whose.

Training: one line an utterance, ``path<TAB>speaker[<TAB>seconds]``; ppvector's ``path<TAB>integer label`` is
the same thing. Evaluation: ``id<TAB>path[<TAB>seconds]``, where the trials speak of the ids. UTF-8; relative
paths are meant from the manifest's folder.
"""

from __future__ import annotations

import codecs
import hashlib
import math
import os
from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from vprtrain.checkpoint.files import replacing
from vprtrain.errors import UsageError


@dataclass(frozen=True, slots=True)
class Utterance:
    """One recording of one speaker."""

    path: str
    speaker: str
    duration: float | None = None
    """Seconds, where the manifest tells"""


@dataclass(frozen=True, kw_only=True, eq=False)
class Manifest:
    """Utterances in the order of their lines, in columns because there may be a million."""

    path: Path
    speakers: tuple[str, ...]
    """Sorted (as numbers where all are); a speaker's place here is the class index."""
    labels: np.ndarray
    """int32 ``[utterances]``, places in :attr:`speakers`"""
    durations: np.ndarray
    """float32 ``[utterances]`` in seconds, NaN where the manifest does not tell"""
    sha256: str
    """Of the manifest's text"""
    written_paths: list[str] = field(repr=False)

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
        """Raise :class:`UsageError` where there are fewer speakers."""
        if len(self.speakers) < count:
            raise UsageError(
                f"{self.path}: found {len(self.speakers)} speaker(s) in {len(self)} utterances, expected at "
                f"least {count}; the second column names the speaker"
            )


@dataclass(frozen=True, slots=True)
class Recording:
    """A recording that trials speak of by its id."""

    path: str
    duration: float | None = None


def read_manifest(path: str | os.PathLike[str]) -> Manifest:
    """Read a training manifest. Raises :class:`UsageError` where it is missing, empty or malformed."""
    paths: list[str] = []
    labels, durations = array("i"), array("f")
    first_seen: dict[str, int] = {}
    for utterance, speaker, seconds in _rows(Path(path), "path<TAB>speaker[<TAB>seconds]"):
        paths.append(utterance)
        labels.append(first_seen.setdefault(speaker, len(first_seen)))
        durations.append(seconds)
    speakers = sorted(first_seen, key=int) if all(map(str.isdecimal, first_seen)) else sorted(first_seen)
    place = np.empty(len(speakers), dtype=np.int32)
    place[[first_seen[speaker] for speaker in speakers]] = np.arange(len(speakers))
    return Manifest(
        path=Path(path),
        speakers=tuple(speakers),
        labels=place[np.frombuffer(labels, dtype=np.int32)],
        durations=np.frombuffer(durations, dtype=np.float32),
        sha256=file_sha256(path),
        written_paths=paths,
    )


def read_recordings(path: str | os.PathLike[str]) -> dict[str, Recording]:
    """Read an evaluation manifest: id -> recording. Raises as :func:`read_manifest`; no id may come twice."""
    folder = Path(path).parent
    recordings: dict[str, Recording] = {}
    for key, written, seconds in _rows(Path(path), "id<TAB>path[<TAB>seconds]"):
        if key in recordings:
            raise UsageError(f"{path}: the id {key!r} is given twice; every id names one recording")
        recordings[key] = Recording(os.path.join(folder, written), None if math.isnan(seconds) else seconds)
    return recordings


def write_manifest(path: str | os.PathLike[str], rows: Iterable[tuple[str, str, float | None]]) -> None:
    """Write a manifest of either kind; a file that was there stays until the new one is complete.

    Raises :class:`UsageError` for a name with a tab or a line break in it, which a manifest cannot hold.
    """
    with replacing(Path(path)) as temporary, open(temporary, "w", encoding="utf-8", newline="\n") as file:
        for first, second, duration in rows:
            if any(character in first + second for character in "\t\n\r"):
                raise UsageError(f"{first!r}, {second!r}: a tab or line break in a name; rename it")
            seconds = "" if duration is None else f"\t{duration:.3f}"
            file.write(f"{first}\t{second}{seconds}\n")


def file_sha256(path: str | os.PathLike[str]) -> str:
    """Hexadecimal SHA-256 of a file's content."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _rows(path: Path, form: str) -> Iterator[tuple[str, str, float]]:
    """Two columns of every line that is not blank, and the third as seconds or NaN."""
    if not path.is_file():
        raise UsageError(f"{path}: no such file; expected a manifest with lines of {form}")
    count = 0
    with open(path, "rb") as file:
        for number, line in enumerate(file, 1):
            try:
                columns = line.removeprefix(codecs.BOM_UTF8).decode().rstrip("\r\n").split("\t")
                if columns == [""]:
                    continue
                seconds = float(columns[2]) if len(columns) == 3 else math.nan
            except ValueError:  # not UTF-8, not a number
                columns, seconds = [], math.nan
            if not 2 <= len(columns) <= 3 or not columns[0] or not columns[1] or seconds <= 0 or math.isinf(seconds):
                raise UsageError(f"{path}, line {number}: expected {form}, found {line[:200]!r}")
            count += 1
            yield columns[0], columns[1], seconds
    if not count:
        raise UsageError(f"{path}: the manifest is empty; expected lines of {form}")
