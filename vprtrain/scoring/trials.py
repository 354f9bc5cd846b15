"""Trial lists: which enrolment is compared with which test utterance, and whether one speaker said both.

Three forms, recognised by their lines (blank-separated columns):

    enrol test 1|0                  CN-Celeb
    1|0 enrol test                  VoxCeleb
    enrol test target|nontarget     Kaldi
"""

from __future__ import annotations

import os
from array import array
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from vprtrain.errors import UsageError

Enrollment = Mapping[str, tuple[str, ...]]
"""Enrol id -> the utterances that it is made of."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Trials:
    """Trials in the order of their lines, in columns because there may be millions."""

    enroll_ids: tuple[str, ...]
    test_ids: tuple[str, ...]
    enroll: np.ndarray
    """int32 ``[trials]``, places in :attr:`enroll_ids`"""
    test: np.ndarray
    """int32 ``[trials]``, places in :attr:`test_ids`"""
    targets: np.ndarray
    """bool ``[trials]``: the same speaker"""

    def __len__(self) -> int:
        return len(self.targets)


@dataclass(frozen=True, slots=True)
class _Form:
    """Where the columns are, and what the labels are called."""

    pattern: str
    enroll: int
    test: int
    label: int
    labels: Mapping[str, bool]


_FORMS = (
    _Form("enrol test 1|0", 0, 1, 2, {"1": True, "0": False}),
    _Form("1|0 enrol test", 1, 2, 0, {"1": True, "0": False}),
    _Form("enrol test target|nontarget", 0, 1, 2, {"target": True, "nontarget": False}),
)


def read_trials(path: str | os.PathLike[str]) -> Trials:
    """Read a trial list; blank lines are skipped.

    Raises :class:`UsageError` where the file is missing, empty, in none of the forms, in several, or
    ambiguous.
    """
    enroll, test, targets = array("i"), array("i"), bytearray()
    enroll_ids: dict[str, int] = {}
    test_ids: dict[str, int] = {}
    form: _Form | None = None
    for number, columns in _lines(path, "a trial list"):
        form = form or _recognise(path, number, columns)
        label = form.labels.get(columns[form.label]) if len(columns) == 3 else None
        if label is None:
            raise UsageError(f"{path}, line {number}: expected {form.pattern!r} as before, found {' '.join(columns)!r}")
        enroll.append(enroll_ids.setdefault(columns[form.enroll], len(enroll_ids)))
        test.append(test_ids.setdefault(columns[form.test], len(test_ids)))
        targets.append(label)
    if form is None:
        raise UsageError(f"{path}: the trial list is empty; expected lines of {_patterns()}")
    return Trials(
        enroll_ids=tuple(enroll_ids),
        test_ids=tuple(test_ids),
        enroll=np.frombuffer(enroll, dtype=np.int32),
        test=np.frombuffer(test, dtype=np.int32),
        targets=np.frombuffer(targets, dtype=np.bool_),
    )


def read_enrollment(path: str | os.PathLike[str]) -> dict[str, tuple[str, ...]]:
    """Read lines of ``enrol-id utterance-id utterance-id ...`` (CN-Celeb's ``enroll.map``).

    Raises :class:`UsageError` where the file is missing or empty, or an id has no utterance or comes twice.
    """
    enrollment: dict[str, tuple[str, ...]] = {}
    for number, (enroll_id, *utterances) in _lines(path, "an enrolment map"):
        if not utterances or enroll_id in enrollment:
            reason = "comes a second time" if utterances else "has no utterances"
            raise UsageError(
                f"{path}, line {number}: {enroll_id!r} {reason}; expected 'enrol-id utterance-id ...' once"
            )
        enrollment[enroll_id] = tuple(utterances)
    if not enrollment:
        raise UsageError(f"{path}: the enrolment map is empty; expected lines of 'enrol-id utterance-id ...'")
    return enrollment


def _recognise(path: str | os.PathLike[str], number: int, columns: list[str]) -> _Form:
    forms = [form for form in _FORMS if len(columns) == 3 and columns[form.label] in form.labels]
    if len(forms) == 1:
        return forms[0]
    fits = "more than one of them" if forms else "none"
    raise UsageError(f"{path}, line {number}: expected {_patterns()}; {' '.join(columns)!r} fits {fits}")


def _patterns() -> str:
    return " or ".join(repr(form.pattern) for form in _FORMS)


def _lines(path: str | os.PathLike[str], what: str) -> Iterator[tuple[int, list[str]]]:
    """The numbers and columns of the lines that are not blank."""
    if not os.path.isfile(path):
        raise UsageError(f"{path}: no such file; expected {what}")
    number = 0
    try:
        with open(path, encoding="utf-8-sig") as file:
            for number, line in enumerate(file, 1):
                if columns := line.split():
                    yield number, columns
    except UnicodeDecodeError as error:
        raise UsageError(f"{path}, after line {number}: not UTF-8 text ({error}); expected {what}") from error
