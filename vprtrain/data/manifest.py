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
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from vprtrain.data.manifest_checks import refuse_alike, refuse_second_id, refuse_two_speakers
from vprtrain.data.manifest_text import EVALUATION, TRAINING, read_columns
from vprtrain.errors import UsageError
from vprtrain.files import StrPath, replacing

_MOST_DIGITS = 100  # of labels that are sorted as numbers


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
        UsageError: the file is missing, empty or malformed, or its lines contradict each other.
    """
    paths: list[str] = []
    labels = array("i")
    durations: list[np.ndarray] = []
    first_seen: dict[str, int] = {}
    digest = hashlib.sha256()
    for columns in read_columns(Path(path), TRAINING, digest):
        paths += columns.first
        durations.append(columns.seconds)
        for speaker in dict.fromkeys(columns.second):
            first_seen.setdefault(speaker, len(first_seen))
        labels.extend(map(first_seen.__getitem__, columns.second))
    are_numbers = all(name.isdecimal() and len(name) < _MOST_DIGITS for name in first_seen)
    refuse_alike(path, first_seen)
    refuse_two_speakers(path, paths, np.frombuffer(labels, dtype=np.int32))
    speakers = sorted(first_seen, key=int) if are_numbers else sorted(first_seen)
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
    for columns in read_columns(Path(path), EVALUATION):
        for key, written, seconds in zip(*columns, strict=True):
            if key in recordings:
                refuse_second_id(path, key)
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
