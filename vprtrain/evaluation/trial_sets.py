"""The trials of a list that can be scored, for each form of enrolment."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from vprtrain.data.manifest import Recording
from vprtrain.errors import UsageError
from vprtrain.scoring.trials import Enrollment, Trials, read_enrollment, usable_trials

log = logging.getLogger(__name__)

AVERAGED = "averaged enrolment"
CONCATENATED = "concatenated enrolment"
SINGLE = "cosine"

_MOST_NAMED = 20
"""The log names at most this number of missing recordings; the report names all."""


@dataclass(frozen=True, kw_only=True, eq=False)
class TrialSet:
    """Trials that are scored with one form of enrolment."""

    form: str
    """The form of enrolment, and how the scores are normalised."""
    trial_list: str = ""
    """The name of the trial list, if there are several."""
    trials: Trials
    enrollment: Enrollment | None
    """The utterances of each enrol id; ``None`` if every enrol id is a recording itself."""
    notes: Mapping[str, Any] = field(default_factory=dict)
    """JSON values for the report: the trials that were dropped, and why."""

    @property
    def name(self) -> str:
        """The result's name."""
        return f"{self.trial_list}, {self.form}" if self.trial_list else self.form

    @property
    def utterances(self) -> set[str]:
        """The ids of all utterances that the trials need."""
        if self.enrollment is None:
            return {*self.trials.enroll_ids, *self.trials.test_ids}
        enrolled = {
            utterance
            for key in self.trials.enroll_ids
            for utterance in self.enrollment.get(key, ())
        }
        return enrolled.union(self.trials.test_ids)

    def usable(self, present: Collection[str]) -> TrialSet:
        """The trials whose utterances are all ``present``. Logs what is missing.

        Raises:
            UsageError: no target trial or no non-target trial is left.
        """
        usable = usable_trials(self.trials, present, self.enrollment)
        missing = list(usable.missing)
        notes = {"trials_in_list": len(self.trials), "dropped_trials": usable.dropped}
        if not missing:
            return replace(self, notes=notes)
        dropped = (
            f"{self.name}: {usable.dropped} of {len(self.trials)} trials are dropped because "
            f"{len(missing)} recordings are missing"
        )
        more = " ..." if len(missing) > _MOST_NAMED else ""
        log.warning("%s: %s%s", dropped, ", ".join(missing[:_MOST_NAMED]), more)
        if len(set(usable.trials.targets.tolist())) < 2:
            left = "trials of only one kind are left" if len(usable.trials) else "no trial is left"
            raise UsageError(f"{dropped}, and {left}: {', '.join(missing[:5])}")
        return replace(self, trials=usable.trials, notes={**notes, "missing_recordings": missing})


def trial_sets(
    lists: Mapping[str, Trials], enroll: str | None, recordings: Mapping[str, Recording]
) -> list[TrialSet]:
    """The trials with each form of enrolment that the recordings allow, the headline first.

    Args:
        lists: the trials by the name of their list.
        enroll: the enrolment map, if there is one.
        recordings: the known recordings by id.

    Raises:
        UsageError: the enrolment map cannot be used.
    """
    if enroll is None:
        return _sets(SINGLE, lists, None)
    averaged = _sets(AVERAGED, lists, read_enrollment(enroll))
    concatenated = {
        name: trials
        for name, trials in lists.items()
        if any(key in recordings for key in trials.enroll_ids)
    }
    if not concatenated:
        log.info("no recording has an enrol id of the trials: no %s", CONCATENATED)
    return [*averaged, *_sets(CONCATENATED, concatenated, None)]


def _sets(form: str, lists: Mapping[str, Trials], enrollment: Enrollment | None) -> list[TrialSet]:
    return [
        TrialSet(form=form, trial_list=name, trials=trials, enrollment=enrollment)
        for name, trials in lists.items()
    ]
