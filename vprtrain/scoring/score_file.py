"""Score files of any system: lines of ``enrol test score``."""

from __future__ import annotations

import math
import os
from array import array
from pathlib import Path
from typing import NamedTuple

import numpy as np

from vprtrain.errors import UsageError, shown
from vprtrain.files import replacing
from vprtrain.lists import read_columns
from vprtrain.scoring.trials import Trials

_LINES_AT_ONCE = 1 << 16


class ScoredTrials(NamedTuple):
    """The result of :func:`read_scores`."""

    trials: Trials
    """The trials that have a score."""
    scores: np.ndarray
    """float64 ``[trials]``, in the order of the trials."""
    dropped: int
    """The number of trials without a score."""
    unscored: tuple[str, ...]
    """The first few trials without a score, as ``enrol test``."""
    surplus: int
    """The number of lines that belong to no trial."""


def read_scores(path: str | os.PathLike[str], trials: Trials) -> ScoredTrials:
    """Read the scores of trials. The lines may be in any order.

    A fourth column is ignored: WeSpeaker writes the label there.

    Raises:
        UsageError: the file is missing or has other lines, a score is not a finite number, a pair
            has two different scores, or no trial has a score.
    """
    enroll_index = {key: index for index, key in enumerate(trials.enroll_ids)}
    test_index = {key: index for index, key in enumerate(trials.test_ids)}
    enroll, test, values = array("i"), array("i"), array("d")
    for number, columns in read_columns(path, "a score file"):
        if len(columns) not in (3, 4):
            raise UsageError(
                f"{path}, line {number}: expected 'enrol test score', found "
                f"{shown(' '.join(columns))}"
            )
        enroll.append(enroll_index.get(columns[0], -1))
        test.append(test_index.get(columns[1], -1))
        values.append(_parse_score(columns[2], path, number))
    lines, scores = (
        _pair_keys(enroll, test, len(trials.test_ids)),
        np.frombuffer(values, dtype=np.float64),
    )
    wanted = _pair_keys(trials.enroll, trials.test, len(trials.test_ids))
    if np.array_equal(lines, wanted):
        return ScoredTrials(trials, scores, 0, (), 0)
    return _match(path, trials, wanted, lines, scores)


def write_scores(path: str | os.PathLike[str], trials: Trials, scores: np.ndarray) -> None:
    """Write lines of ``enrol test score``. :func:`read_scores` reads back exactly the same numbers.

    The columns are separated by blanks, or by tabs if an id contains a blank.

    Args:
        scores: ``[trials]``.
    """
    ids = (*trials.enroll_ids, *trials.test_ids)
    separator = "\t" if any(len(name.split()) > 1 for name in ids) else " "
    with (
        replacing(Path(path)) as temporary,
        open(temporary, "w", encoding="utf-8", newline="\n") as file,
    ):
        for start in range(0, len(trials), _LINES_AT_ONCE):
            block = slice(start, start + _LINES_AT_ONCE)
            columns = zip(
                *(part[block].tolist() for part in (trials.enroll, trials.test, scores)),
                strict=True,
            )
            file.writelines(
                f"{trials.enroll_ids[e]}{separator}{trials.test_ids[t]}{separator}{score!r}\n"
                for e, t, score in columns
            )


def _parse_score(text: str, path: str | os.PathLike[str], number: int) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise UsageError(f"{path}, line {number}: the score {shown(text)} is not a finite number")
    return value


def _pair_keys(
    enroll: array[int] | np.ndarray, test: array[int] | np.ndarray, test_count: int
) -> np.ndarray:
    """One number for every pair of indices, int64 ``[pairs]``; -1 if an index is -1."""
    first, second = np.asarray(enroll, dtype=np.int64), np.asarray(test, dtype=np.int64)
    return np.where((first < 0) | (second < 0), -1, first * test_count + second)


def _match(
    path: str | os.PathLike[str],
    trials: Trials,
    wanted: np.ndarray,
    lines: np.ndarray,
    scores: np.ndarray,
) -> ScoredTrials:
    """Find the scores of the trials ``wanted`` in the ``lines`` of the file, both as pair keys."""
    order = np.argsort(lines, kind="stable")
    order = order[np.searchsorted(lines[order], 0) :]
    keys, scores = lines[order], scores[order]
    conflicts = np.flatnonzero((keys[1:] == keys[:-1]) & (scores[1:] != scores[:-1]))
    if len(conflicts):
        place = int(conflicts[0])
        pair = _name(trials, int(keys[place]))
        numbers = [number for number, _ in read_columns(path, "a score file")]
        one, other = (numbers[index] for index in order[place : place + 2])
        raise UsageError(
            f"{path}, lines {one} and {other}: {len(conflicts)} pair(s) have two different scores, "
            f"{shown(pair)} is the first: give one score for each pair"
        )
    indices = np.searchsorted(keys, wanted)
    found = np.zeros(len(wanted), dtype=bool)
    inside = indices < len(keys)
    found[inside] = keys[indices[inside]] == wanted[inside]
    if not found.any():
        first = _name(trials, int(wanted[0]))
        raise UsageError(
            f"{path}: no score for any of the {len(trials)} trials (the first is {first!r}); give "
            "the scores of these trials"
        )
    unscored = np.flatnonzero(~found)
    return ScoredTrials(
        trials if found.all() else trials.keep(found),
        scores[indices[found]],
        len(unscored),
        tuple(_name(trials, int(wanted[index])) for index in unscored[:5]),
        len(lines) - int(np.count_nonzero(np.isin(lines, wanted))),
    )


def _name(trials: Trials, key: int) -> str:
    enroll, test = divmod(key, len(trials.test_ids))
    return f"{trials.enroll_ids[enroll]} {trials.test_ids[test]}"
