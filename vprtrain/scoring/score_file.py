"""Score files: lines of ``enrol test score``, of whatever system."""

from __future__ import annotations

import math
import os
from array import array
from pathlib import Path
from typing import NamedTuple

import numpy as np

from vprtrain.errors import UsageError
from vprtrain.files import replacing
from vprtrain.scoring.trials import Trials, read_columns

_LINES_AT_ONCE = 1 << 16


class ScoredTrials(NamedTuple):
    """What :func:`read_scores` finds."""

    trials: Trials
    """those with a score"""
    scores: np.ndarray
    """float64 ``[trials]``, in their order"""
    dropped: int
    """trials without a score"""
    unscored: tuple[str, ...]
    """the first few of these, as ``enrol test``"""
    surplus: int
    """lines that no trial asks for"""


def read_scores(path: str | os.PathLike[str], trials: Trials) -> ScoredTrials:
    """The scores of the trials, in any order; a fourth column, a label as WeSpeaker writes it, is
    ignored.

    Raises :class:`UsageError` where the file is missing or holds other lines, a score is not a
    finite number, a pair has two scores, or no trial has any.
    """
    enroll_places = {key: place for place, key in enumerate(trials.enroll_ids)}
    test_places = {key: place for place, key in enumerate(trials.test_ids)}
    enroll, test, values = array("i"), array("i"), array("d")
    for number, columns in read_columns(path, "a score file"):
        if len(columns) not in (3, 4):
            raise UsageError(
                f"{path}, line {number}: expected 'enrol test score', found {' '.join(columns)!r}"
            )
        enroll.append(enroll_places.get(columns[0], -1))
        test.append(test_places.get(columns[1], -1))
        values.append(_number(columns[2], path, number))
    lines, scores = (
        _pair_keys(enroll, test, len(trials.test_ids)),
        np.frombuffer(values, dtype=np.float64),
    )
    wanted = _pair_keys(trials.enroll, trials.test, len(trials.test_ids))
    if np.array_equal(lines, wanted):
        return ScoredTrials(trials, scores, 0, (), 0)
    return _match(path, trials, wanted, lines, scores)


def write_scores(path: str | os.PathLike[str], trials: Trials, scores: np.ndarray) -> None:
    """Write ``enrol test score`` lines that :func:`read_scores` reads back to the same numbers.

    Between blanks, or where an id has one, tabs.
    """
    ids = (*trials.enroll_ids, *trials.test_ids)
    gap = "\t" if any(len(name.split()) > 1 for name in ids) else " "
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
                f"{trials.enroll_ids[e]}{gap}{trials.test_ids[t]}{gap}{score!r}\n"
                for e, t, score in columns
            )


def _number(text: str, path: str | os.PathLike[str], number: int) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise UsageError(f"{path}, line {number}: the score {text!r} is not a finite number")
    return value


def _pair_keys(
    enroll: array[int] | np.ndarray, test: array[int] | np.ndarray, tests: int
) -> np.ndarray:
    """int64 ``[pairs]``: one number for every pair of places, -1 where either is none of the
    trials'."""
    first, second = np.asarray(enroll, dtype=np.int64), np.asarray(test, dtype=np.int64)
    return np.where((first < 0) | (second < 0), -1, first * tests + second)


def _match(
    path: str | os.PathLike[str],
    trials: Trials,
    wanted: np.ndarray,
    lines: np.ndarray,
    scores: np.ndarray,
) -> ScoredTrials:
    order = np.argsort(lines, kind="stable")
    order = order[np.searchsorted(lines[order], 0) :]
    keys, scores = lines[order], scores[order]
    twice = np.flatnonzero((keys[1:] == keys[:-1]) & (scores[1:] != scores[:-1]))
    if len(twice):
        pair = _name(trials, int(keys[twice[0]]))
        raise UsageError(
            f"{path}: {len(twice)} pair(s) with two different scores, {pair!r} among them"
        )
    places = np.searchsorted(keys, wanted)
    found = np.zeros(len(wanted), dtype=bool)
    inside = places < len(keys)
    found[inside] = keys[places[inside]] == wanted[inside]
    if not found.any():
        first = _name(trials, int(wanted[0]))
        raise UsageError(
            f"{path}: no score for any of the {len(trials)} trials, of which {first!r} is the first"
        )
    unscored = np.flatnonzero(~found)
    return ScoredTrials(
        trials if found.all() else trials.keep(found),
        scores[places[found]],
        len(unscored),
        tuple(_name(trials, int(wanted[place])) for place in unscored[:5]),
        len(lines) - int(np.count_nonzero(np.isin(lines, wanted))),
    )


def _name(trials: Trials, key: int) -> str:
    enroll, test = divmod(key, len(trials.test_ids))
    return f"{trials.enroll_ids[enroll]} {trials.test_ids[test]}"
