"""Trial lists: which enrolment is compared with which test utterance, and whether one speaker said
both.

Three forms, recognised by their lines (blank-separated columns):

    enrol test 1|0                  CN-Celeb
    1|0 enrol test                  VoxCeleb
    enrol test target|nontarget     Kaldi

and a fourth, ppvector's, of two lists of ``utterance<TAB>label``, where every utterance of the one
is compared with every one of the other.
"""

from __future__ import annotations

import os
from array import array
from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

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

    def keep(self, chosen: np.ndarray) -> Trials:
        """The trials for which bool ``[trials]`` is true, and of the ids those that they name."""
        enroll_places, enroll = np.unique(self.enroll[chosen], return_inverse=True)
        test_places, test = np.unique(self.test[chosen], return_inverse=True)
        return Trials(
            enroll_ids=tuple(self.enroll_ids[place] for place in enroll_places),
            test_ids=tuple(self.test_ids[place] for place in test_places),
            enroll=enroll.astype(np.int32),
            test=test.astype(np.int32),
            targets=self.targets[chosen],
        )


class UsableTrials(NamedTuple):
    """What :func:`usable_trials` leaves."""

    trials: Trials
    missing: tuple[str, ...]
    """ids of utterances that there are not, sorted"""
    dropped: int
    """how many trials that cost"""


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


def read_trials(
    path: str | os.PathLike[str], *, enroll_list: str | os.PathLike[str] | None = None
) -> Trials:
    """Read a trial list; blank lines are skipped. With an ``enroll_list``, both are lists of
    ppvector's.

    Raises :class:`UsageError` where the file is missing, empty, in none of the forms, in several,
    or ambiguous.
    """
    if enroll_list is not None:
        return _all_pairs(_read_labels(enroll_list), _read_labels(path))
    enroll, test, targets = array("i"), array("i"), bytearray()
    enroll_ids: dict[str, int] = {}
    test_ids: dict[str, int] = {}
    form: _Form | None = None
    for number, columns in read_columns(path, "a trial list"):
        form = form or _recognise(path, number, columns)
        label = form.labels.get(columns[form.label]) if len(columns) == 3 else None
        if label is None:
            raise UsageError(
                f"{path}, line {number}: expected {form.pattern!r} as before, found {' '.join(columns)!r}"
            )
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

    Raises :class:`UsageError` where the file is missing or empty, or an id has no utterance or
    comes twice.
    """
    enrollment: dict[str, tuple[str, ...]] = {}
    for number, (enroll_id, *utterances) in read_columns(path, "an enrolment map"):
        if not utterances or enroll_id in enrollment:
            reason = "comes a second time" if utterances else "has no utterances"
            raise UsageError(
                f"{path}, line {number}: {enroll_id!r} {reason}; expected 'enrol-id utterance-id ...' once"
            )
        enrollment[enroll_id] = tuple(utterances)
    if not enrollment:
        raise UsageError(
            f"{path}: the enrolment map is empty; expected lines of 'enrol-id utterance-id ...'"
        )
    return enrollment


def usable_trials(
    trials: Trials, known: Container[str], enrollment: Enrollment | None = None
) -> UsableTrials:
    """Drop the trials that need an utterance that is not ``known``.

    An enrolment lacks nothing or is dropped: a mean of what is left would be another enrolment.
    """
    parts = [(key,) if enrollment is None else enrollment.get(key) for key in trials.enroll_ids]
    needed = {utterance for part in parts for utterance in part or ()}.union(trials.test_ids)
    absent = {utterance for utterance in needed if utterance not in known}
    unknown = {key for key, part in zip(trials.enroll_ids, parts, strict=True) if part is None}
    missing = absent | unknown
    if not missing:
        return UsableTrials(trials, (), 0)
    enrolled = np.array([part is not None and absent.isdisjoint(part) for part in parts])
    tested = np.array([key not in absent for key in trials.test_ids])
    chosen = enrolled[trials.enroll] & tested[trials.test]
    return UsableTrials(trials.keep(chosen), tuple(sorted(missing)), int(np.count_nonzero(~chosen)))


def _read_labels(path: str | os.PathLike[str]) -> dict[str, str]:
    """Label by utterance of a list of ppvector's."""
    labels: dict[str, str] = {}
    for number, line in _lines(path, "a list of ppvector's"):
        utterance, tab, label = line.rpartition("\t")
        if not tab or not utterance.strip() or labels.setdefault(utterance, label) != label:
            reason = "has two labels" if utterance in labels else "is no such line"
            raise UsageError(
                f"{path}, line {number}: {line!r} {reason}; expected 'utterance<TAB>label'"
            )
    if not labels:
        raise UsageError(f"{path}: the list is empty; expected lines of 'utterance<TAB>label'")
    return labels


def _all_pairs(enrolled: Mapping[str, str], tested: Mapping[str, str]) -> Trials:
    codes: dict[str, int] = {}
    sides = [
        np.array([codes.setdefault(label, len(codes)) for label in side.values()])
        for side in (enrolled, tested)
    ]
    return Trials(
        enroll_ids=tuple(enrolled),
        test_ids=tuple(tested),
        enroll=np.repeat(np.arange(len(enrolled), dtype=np.int32), len(tested)),
        test=np.tile(np.arange(len(tested), dtype=np.int32), len(enrolled)),
        targets=np.equal.outer(*sides).ravel(),
    )


def _recognise(path: str | os.PathLike[str], number: int, columns: list[str]) -> _Form:
    forms = [form for form in _FORMS if len(columns) == 3 and columns[form.label] in form.labels]
    if len(forms) == 1:
        return forms[0]
    fits = "more than one of them" if forms else "none"
    hint = "; a list of ppvector's needs its enrol list too" if len(columns) == 2 else ""
    raise UsageError(
        f"{path}, line {number}: expected {_patterns()}; {' '.join(columns)!r} fits {fits}{hint}"
    )


def _patterns() -> str:
    return " or ".join(repr(form.pattern) for form in _FORMS)


def read_columns(path: str | os.PathLike[str], what: str) -> Iterator[tuple[int, list[str]]]:
    """The numbers and columns of the lines that are not blank; ``what`` the file should be, for the
    error.

    Columns stand between blanks, or where there are two tabs, between tabs: their names may have
    blanks in them then.
    """
    for number, line in _lines(path, what):
        parts = line.strip().split("\t")
        yield number, [part.strip() for part in parts] if len(parts) > 2 else line.split()


def _lines(path: str | os.PathLike[str], what: str) -> Iterator[tuple[int, str]]:
    if not os.path.isfile(path):
        raise UsageError(f"{path}: no such file; expected {what}")
    number = 0
    try:
        with open(path, encoding="utf-8-sig") as file:
            for number, line in enumerate(file, 1):
                if not line.isspace():
                    yield number, line.rstrip("\r\n")
    except UnicodeDecodeError as error:
        raise UsageError(
            f"{path}, after line {number}: not UTF-8 text ({error}); expected {what}"
        ) from error
