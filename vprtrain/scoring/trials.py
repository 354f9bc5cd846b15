"""Trial lists: pairs of an enrolment and a test utterance, labelled as the same speaker or not.

Three formats, recognised by their lines (columns separated by blanks):

    enrol test 1|0                  CN-Celeb
    1|0 enrol test                  VoxCeleb
    enrol test target|nontarget     Kaldi

ppvector has a fourth format: two lists of ``utterance<TAB>label``. Each utterance of the first list
is compared with each utterance of the second.
"""

from __future__ import annotations

import os
from array import array
from collections.abc import Container, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from vprtrain.errors import UsageError, shown
from vprtrain.lists import read_columns, read_lines

_MOST_PAIRS = 100_000_000
"""Of two lists of ppvector; their trials take about 1 GB."""

Enrollment = Mapping[str, tuple[str, ...]]
"""The utterance ids of each enrol id."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Trials:
    """Trials in the order of their lines. They are stored in arrays since there may be millions."""

    enroll_ids: tuple[str, ...]
    test_ids: tuple[str, ...]
    enroll: np.ndarray
    """int32 ``[trials]``, indices into :attr:`enroll_ids`."""
    test: np.ndarray
    """int32 ``[trials]``, indices into :attr:`test_ids`."""
    targets: np.ndarray
    """bool ``[trials]``, true for the same speaker."""

    def __len__(self) -> int:
        return len(self.targets)

    def keep(self, chosen: np.ndarray) -> Trials:
        """The trials for which ``chosen`` (bool ``[trials]``) is true, and only their ids."""
        enroll_kept, enroll = np.unique(self.enroll[chosen], return_inverse=True)
        test_kept, test = np.unique(self.test[chosen], return_inverse=True)
        return Trials(
            enroll_ids=tuple(self.enroll_ids[index] for index in enroll_kept),
            test_ids=tuple(self.test_ids[index] for index in test_kept),
            enroll=enroll.astype(np.int32),
            test=test.astype(np.int32),
            targets=self.targets[chosen],
        )


class UsableTrials(NamedTuple):
    """The result of :func:`usable_trials`."""

    trials: Trials
    missing: tuple[str, ...]
    """The ids of the missing utterances, sorted."""
    dropped: int
    """The number of dropped trials."""


@dataclass(frozen=True, slots=True)
class _Format:
    """The columns of a line, and the meaning of its labels."""

    pattern: str
    enroll: int
    test: int
    label: int
    labels: Mapping[str, bool]


_FORMATS = (
    _Format("enrol test 1|0", 0, 1, 2, {"1": True, "0": False}),
    _Format("1|0 enrol test", 1, 2, 0, {"1": True, "0": False}),
    _Format("enrol test target|nontarget", 0, 1, 2, {"target": True, "nontarget": False}),
)


def read_trials(
    path: str | os.PathLike[str], *, enroll_list: str | os.PathLike[str] | None = None
) -> Trials:
    """Read a trial list. Blank lines are skipped.

    Args:
        path: the trial list, or ppvector's list of test utterances.
        enroll_list: ppvector's list of enrolment utterances.

    Raises:
        UsageError: a file is missing or empty, a line has no known format, an ambiguous format, or
            another format than the first line, or a pair has two different labels.
    """
    if enroll_list is not None:
        return _all_pairs(_read_labels(enroll_list), _read_labels(path))
    enroll, test, targets = array("i"), array("i"), bytearray()
    enroll_ids: dict[str, int] = {}
    test_ids: dict[str, int] = {}
    found: _Format | None = None
    for number, columns in read_columns(path, "a trial list"):
        found = found or _recognise(path, number, columns)
        label = found.labels.get(columns[found.label]) if len(columns) == 3 else None
        if label is None:
            raise UsageError(
                f"{path}, line {number}: expected {found.pattern!r} as in the lines before, found "
                f"{shown(' '.join(columns))}"
            )
        enroll.append(enroll_ids.setdefault(columns[found.enroll], len(enroll_ids)))
        test.append(test_ids.setdefault(columns[found.test], len(test_ids)))
        targets.append(label)
    if found is None:
        raise UsageError(f"{path}: the trial list is empty; expected lines of {_patterns()}")
    trials = Trials(
        enroll_ids=tuple(enroll_ids),
        test_ids=tuple(test_ids),
        enroll=np.frombuffer(enroll, dtype=np.int32),
        test=np.frombuffer(test, dtype=np.int32),
        targets=np.frombuffer(targets, dtype=np.bool_),
    )
    _refuse_contradictions(path, trials, found)
    return trials


def read_enrollment(path: str | os.PathLike[str]) -> dict[str, tuple[str, ...]]:
    """Read lines of ``enrol-id utterance-id utterance-id ...`` (CN-Celeb's ``enroll.map``).

    Raises:
        UsageError: the file is missing or empty, or an enrol id has no utterance or two lines.
    """
    enrollment: dict[str, tuple[str, ...]] = {}
    for number, (enroll_id, *utterances) in read_columns(path, "an enrolment map"):
        if not utterances or enroll_id in enrollment:
            reason = "has a second line" if utterances else "has no utterances"
            raise UsageError(
                f"{path}, line {number}: {shown(enroll_id)} {reason}; expected one line of "
                "'enrol-id utterance-id ...'"
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
    """Drop the trials that need an utterance that is not in ``known``.

    All utterances of an enrolment must be known: the mean of only some of them would be another
    enrolment.

    Args:
        enrollment: the utterances of each enrol id; ``None`` if enrol ids are utterance ids.
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
    """The label of each utterance in a list of ppvector."""
    labels: dict[str, str] = {}
    for number, line in read_lines(path, "a list of ppvector"):
        utterance, _, label = (part.strip() for part in line.rpartition("\t"))
        if not utterance or not label or labels.setdefault(utterance, label) != label:
            reason = (
                "gives a second label" if utterance in labels else "has no tab, utterance or label"
            )
            raise UsageError(
                f"{path}, line {number}: {shown(line)} {reason}; expected 'utterance<TAB>label'"
            )
    if not labels:
        raise UsageError(f"{path}: the list is empty; expected lines of 'utterance<TAB>label'")
    return labels


def _all_pairs(enrolled: Mapping[str, str], tested: Mapping[str, str]) -> Trials:
    if len(enrolled) * len(tested) > _MOST_PAIRS:
        raise UsageError(
            f"{len(enrolled)} enrolment and {len(tested)} test utterances make "
            f"{len(enrolled) * len(tested)} trials, expected at most {_MOST_PAIRS}; shorten one of "
            "the lists"
        )
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


def _refuse_contradictions(path: str | os.PathLike[str], trials: Trials, found: _Format) -> None:
    """Refuse a pair that is a target trial in one line and a non-target trial in another."""
    pairs = trials.enroll * np.int64(len(trials.test_ids)) + trials.test
    # The sorted keys of a contradictory pair follow each other and differ in the last bit only.
    keys = np.sort(pairs * 2 + trials.targets)
    twice = np.flatnonzero(keys[1:] ^ keys[:-1] == 1)
    if not len(twice):
        return
    enroll, test = divmod(int(keys[twice[0]]) // 2, len(trials.test_ids))
    pair = [trials.enroll_ids[enroll], trials.test_ids[test]]
    first: dict[str, int] = {}
    for number, columns in read_columns(path, "a trial list"):
        if [columns[found.enroll], columns[found.test]] == pair:
            first.setdefault(columns[found.label], number)
    one, other = first.values()
    raise UsageError(
        f"{path}, lines {one} and {other}: the pair {shown(' '.join(pair))} is labelled as the "
        "same speaker and as different speakers; remove the wrong line"
    )


def _recognise(path: str | os.PathLike[str], number: int, columns: list[str]) -> _Format:
    fitting = [
        each for each in _FORMATS if len(columns) == 3 and columns[each.label] in each.labels
    ]
    if len(fitting) == 1:
        return fitting[0]
    fits = "more than one of them" if fitting else "none of them"
    hint = "; a list of ppvector also needs its enroll_list" if len(columns) == 2 else ""
    raise UsageError(
        f"{path}, line {number}: expected {_patterns()}; {shown(' '.join(columns))} fits "
        f"{fits}{hint}"
    )


def _patterns() -> str:
    return " or ".join(repr(each.pattern) for each in _FORMATS)
