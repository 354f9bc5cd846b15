"""Checks of a whole manifest: entries that contradict each other or look the same."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from functools import partial
from typing import NoReturn

import numpy as np

from vprtrain.data.manifest_text import EVALUATION, TRAINING
from vprtrain.errors import UsageError, shown
from vprtrain.files import StrPath
from vprtrain.lists import first_alike, lines_where, read_lines


def refuse_alike(path: StrPath, speakers: Collection[str]) -> None:
    """Refuse a blank name of a speaker in a training manifest, and two names that look the same.

    Raises:
        UsageError: there are such names.
    """
    for speaker in speakers:
        if speaker.isspace():
            line = lines_where(path, TRAINING, partial(_has, 1, speaker))
            raise UsageError(f"{path}, {line}: the speaker's name is blank; expected {TRAINING}")
    if alike := first_alike(speakers):
        lines = lines_where(path, TRAINING, *(partial(_has, 1, name) for name in alike))
        raise UsageError(
            f"{path}, {lines}: {shown(alike[0])} and {shown(alike[1])} would be two speakers; "
            "expected one spelling of a speaker's name"
        )


def refuse_two_speakers(path: StrPath, paths: Sequence[str], labels: np.ndarray) -> None:
    """Refuse a recording of a training manifest that has two speakers.

    Raises:
        UsageError: there is such a recording.
    """
    hashes = np.fromiter(map(hash, paths), dtype=np.int64, count=len(paths))
    hashes.sort()
    if not (hashes[1:] == hashes[:-1]).any():  # as a rule; a dictionary takes longer
        return
    known: dict[str, int] = {}
    for written, label in zip(paths, labels.tolist(), strict=True):
        if known.setdefault(written, label) != label:
            _refuse_two_speakers(path, written)


def refuse_second_id(path: StrPath, key: str) -> NoReturn:
    """Refuse an evaluation manifest with two lines for an id."""
    has_key = partial(_has, 0, key)
    lines = lines_where(path, EVALUATION, has_key, has_key)
    raise UsageError(
        f"{path}, {lines}: the id {shown(key)} occurs twice; expected one recording for every id"
    )


def _refuse_two_speakers(path: StrPath, written: str) -> NoReturn:
    first: dict[str, int] = {}
    for number, text in read_lines(path, TRAINING):
        if _has(0, written, text):
            first.setdefault(text.split("\t")[1], number)
    (one, line), (other, next_line), *_ = first.items()
    raise UsageError(
        f"{path}, lines {line} and {next_line}: {shown(written)} has the speakers {shown(one)} "
        f"and {shown(other)}; expected one speaker of a recording"
    )


def _has(column: int, value: str, line: str) -> bool:
    columns = line.split("\t")
    return len(columns) > column and columns[column] == value
