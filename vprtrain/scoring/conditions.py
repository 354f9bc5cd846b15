"""Conditions of trials: the genre, the duration, or any column of a table of utterances."""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from vprtrain.errors import UsageError, shown
from vprtrain.files import StrPath
from vprtrain.lists import read_lines
from vprtrain.scoring.trials import Enrollment, Trials

GENRE, DURATION = "genre", "duration"
"""The conditions that need no table: by the names of CN-Celeb's files, and by seconds."""
DURATION_EDGES = (2.0, 5.0, 10.0)
"""Seconds between the classes of durations."""

_GENRE = re.compile(r"(?:^|[/-])([a-z_]+)-\d{2}-\d{3}(?:-comb\d+)?(?:\.\w+)?$")
_MOST_CONDITIONS = 1000
_UNKNOWN = "unknown"


class Conditions(NamedTuple):
    """The condition of each trial."""

    by: str
    """What divides the trials: ``genre``, ``duration`` or the name of a column."""
    names: tuple[str, ...]
    places: np.ndarray
    """int32 ``[trials]``, indices into :attr:`names`."""


def trial_conditions(
    by: str,
    trials: Trials,
    *,
    table: StrPath | None = None,
    durations: Mapping[str, float] | None = None,
    enrollment: Enrollment | None = None,
    edges: Sequence[float] = DURATION_EDGES,
) -> Conditions:
    """Divide trials by ``genre`` (:func:`genres`), ``duration`` or a column of a table.

    Args:
        table: as of :func:`read_conditions`. With it, genres and durations are its columns too.
        durations: seconds by utterance id, if there is no table.
        enrollment, edges: as of :func:`duration_conditions`.

    Raises:
        UsageError: ``by`` needs a table, or the table or the trials cannot be used.
    """
    if by == DURATION and (table is not None or durations is not None):
        seconds = read_durations(table) if table is not None else durations
        return duration_conditions(trials, seconds or {}, enrollment, edges=edges)
    if table is not None:
        return value_conditions(by, trials, read_conditions(table, by))
    if by == GENRE:
        return value_conditions(by, trials, genres((*trials.enroll_ids, *trials.test_ids)))
    raise UsageError(
        f"--by {by} needs --by_table: a table of utterances whose first line names its columns, "
        f"{by} among them"
    )


def genres(ids: Sequence[str]) -> dict[str, str]:
    """The genre of each utterance that is named as in CN-Celeb, as
    ``test/id00800-singing-01-005.wav`` and ``id00800/singing-01-005.wav``, by id."""
    found = {key: _GENRE.search(key) for key in ids}
    return {key: match[1] for key, match in found.items() if match}


def read_conditions(path: StrPath, column: str) -> dict[str, str]:
    """A column of a table of utterances, by id.

    The first line of the table names its columns, the first column has the ids of the trials. The
    columns are separated by tabs, or by commas as in CSV files. Empty values are left out.

    Raises:
        UsageError: the file is missing or empty, has no such column or several, a line has another
            number of columns, or an id occurs twice.
    """
    lines = list(read_lines(path, "a table of utterances, with the names of its columns first"))
    separator = "\t" if lines and "\t" in lines[0][1] else ","
    header, *rows = [_row(path, *line, separator) for line in lines] or [[]]
    if header[1:].count(column) > 1:
        raise UsageError(f"{path} has several columns {shown(column)}: expected one")
    if column not in header[1:]:
        raise UsageError(
            f"{path} has no column {shown(column)}: its first line names "
            f"{', '.join(map(shown, header[1:])) or 'no column after the ids'}"
        )
    place, found = header.index(column, 1), dict[str, str]()
    for (number, _), row in zip(lines[1:], rows, strict=True):
        if len(row) != len(header) or row[0] in found:
            reason = "occurs twice" if len(row) == len(header) else f"has {len(row)} columns"
            raise UsageError(
                f"{path}, line {number}: {shown(row[0])} {reason}; expected one line of "
                f"{len(header)} columns for each utterance"
            )
        found[row[0]] = row[place].strip()
    return {key: value for key, value in found.items() if value}


def _row(path: StrPath, number: int, text: str, separator: str) -> list[str]:
    """The columns of a line. It is read alone: a quotation mark that is open ends with it."""
    try:
        return next(csv.reader([text], delimiter=separator))
    except csv.Error as error:
        raise UsageError(f"{path}, line {number}: {error}") from error


def read_durations(path: StrPath) -> dict[str, float]:
    """The column ``duration`` of a table of :func:`read_conditions`, in seconds.

    Raises:
        UsageError: as :func:`read_conditions`, or a value is not a number above 0.
    """
    durations = {}
    for key, text in read_conditions(path, DURATION).items():
        try:
            durations[key] = float(text)
        except ValueError:
            durations[key] = 0.0
        if not 0 < durations[key] < np.inf:
            raise UsageError(f"{path}: the duration of {shown(key)} is {shown(text)}, not seconds")
    return durations


def value_conditions(by: str, trials: Trials, values: Mapping[str, str]) -> Conditions:
    """Trials by a value of their utterances.

    If each enrol id has a value, the condition of a trial is the pair of its two sides' values, as
    ``phone, studio``, in either order; one value where they are equal. Else it is the value of the
    test utterance (of CN-Celeb's test recordings the genre, because an enrolment has several).
    Trials without a value are ``unknown``.

    Args:
        values: by utterance id.

    Raises:
        UsageError: no test utterance has a value, or there are too many conditions.
    """
    tested = [values.get(key, _UNKNOWN) for key in trials.test_ids]
    if not any(key in values for key in trials.test_ids):
        raise UsageError(
            f"no test utterance of the trials has a {by}: the first is "
            f"{shown(next(iter(trials.test_ids), ''))}"
        )
    names, test = np.unique(tested, return_inverse=True)
    if not all(key in values for key in trials.enroll_ids):
        return _named(by, names.tolist(), test[trials.test])
    both, enroll = np.unique([values[key] for key in trials.enroll_ids], return_inverse=True)
    every = sorted({*names.tolist(), *both.tolist()})
    enroll, test = np.searchsorted(every, both)[enroll], np.searchsorted(every, names)[test]
    sides = np.sort([enroll[trials.enroll], test[trials.test]], axis=0)
    pairs, places = np.unique(sides[0] * len(every) + sides[1], return_inverse=True)
    named = [divmod(pair, len(every)) for pair in pairs.tolist()]
    return _named(by, [every[a] if a == b else f"{every[a]}, {every[b]}" for a, b in named], places)


def duration_conditions(
    trials: Trials,
    durations: Mapping[str, float],
    enrollment: Enrollment | None = None,
    *,
    edges: Sequence[float] = DURATION_EDGES,
) -> Conditions:
    """Trials by the duration of their shorter side.

    Args:
        durations: seconds, by utterance id.
        enrollment: the utterances of each enrol id, whose seconds are added; ``None`` if enrol ids
            are utterances.
        edges: rising seconds above 0 that divide the classes.

    Raises:
        UsageError: an utterance has no duration, or the edges do not rise.
    """
    if not edges or not all(a < b for a, b in pairwise((0.0, *edges))):
        raise UsageError(f"the edges of the durations are {list(edges)}: expected rising seconds")
    enrolled, tested = side_seconds(trials, durations, enrollment)
    shorter = np.minimum(enrolled[trials.enroll], tested[trials.test])
    names = [
        f"below {edges[0]:g} s",
        *(f"{a:g} to {b:g} s" for a, b in pairwise(edges)),
        f"{edges[-1]:g} s or more",
    ]
    return _named(DURATION, names, np.searchsorted(edges, shorter, side="right"))


def side_seconds(
    trials: Trials, durations: Mapping[str, float], enrollment: Enrollment | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """The seconds of each enrolment, all its utterances together, and of each test utterance,
    float64 ``[len(trials.enroll_ids)]`` and ``[len(trials.test_ids)]``.

    Raises:
        UsageError: an utterance has no duration.
    """
    parts = [(key,) if enrollment is None else enrollment[key] for key in trials.enroll_ids]
    needed = {key for part in parts for key in part}.union(trials.test_ids)
    if missing := sorted(needed.difference(durations)):
        raise UsageError(
            f"{len(missing)} utterances of the trials have no duration: "
            f"{', '.join(map(shown, missing[:3]))}"
        )
    return (
        np.array([sum(durations[key] for key in part) for part in parts]),
        np.array([durations[key] for key in trials.test_ids]),
    )


def _named(by: str, names: Sequence[str], places: np.ndarray) -> Conditions:
    if len(names) > _MOST_CONDITIONS:
        raise UsageError(
            f"the trials have {len(names)} conditions by {by}, expected at most {_MOST_CONDITIONS}"
        )
    return Conditions(by, tuple(names), places.astype(np.int32))
