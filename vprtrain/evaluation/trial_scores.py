"""The scores of the trials by each method, and their metrics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from vprtrain.data.audio import audio_duration
from vprtrain.data.manifest import Recording
from vprtrain.evaluation.task import EvaluationTask
from vprtrain.evaluation.trial_sets import TrialSet
from vprtrain.scoring.backend import Backend, Voices
from vprtrain.scoring.bootstrap import bootstrap_intervals, trial_speakers
from vprtrain.scoring.by_condition import rate_by_condition
from vprtrain.scoring.conditions import DURATION, Conditions, side_seconds, trial_conditions
from vprtrain.scoring.cosine import (
    dot_products,
    gather_sides,
    score_trials,
    unit_sides,
    unit_vectors,
)
from vprtrain.scoring.evaluation_result import EvaluationResult
from vprtrain.scoring.normalize import Cohort, normalize_scores
from vprtrain.scoring.rating import rate


class Known(NamedTuple):
    """What the trials are scored with."""

    embeddings: Mapping[str, np.ndarray]
    """``[dimension]`` by utterance id."""
    seconds: Mapping[str, float]
    """Those of :func:`used_seconds`."""
    cohort: Cohort | None
    """That of the task; ``None`` without."""
    backend: Backend
    """That of the checkpoint."""


def score_all(
    sets: Sequence[TrialSet], known: Known, task: EvaluationTask
) -> list[tuple[TrialSet, np.ndarray]]:
    """The scores of all sets: by the checkpoint's back end, if it is not the plain cosine; then
    the cosines; then, with a cohort, the cosines that are normalised by it."""
    scored = []
    if not known.backend.is_cosine:
        for each in sets:
            own = replace(each, form=f"{each.form}, the checkpoint's back end")
            scored.append((own, _backend_scores(each, known, task)))
    for each in sets:
        scored.append((each, score_trials(each.trials, known.embeddings, each.enrollment)))
    if known.cohort is not None:
        for each in sets:
            normalised = replace(each, form=f"{each.form}, {task.norm}")
            scored.append((normalised, _normalised_scores(each, known, known.cohort, task)))
    return scored


def _normalised_scores(
    trial_set: TrialSet, known: Known, cohort: Cohort, task: EvaluationTask
) -> np.ndarray:
    trials = trial_set.trials
    sides = unit_sides(trials, known.embeddings, trial_set.enrollment, mean=cohort.mean)
    scores = dot_products(trials, sides)
    return normalize_scores(scores, trials, sides, cohort, norm=task.norm, top=task.top)


def _backend_scores(trial_set: TrialSet, known: Known, task: EvaluationTask) -> np.ndarray:
    """The scores of the back end, float64 ``[trials]``. As in an application, an enrolment is the
    mean of embeddings of length 1."""
    trials, enrollment = trial_set.trials, trial_set.enrollment
    keys = sorted(trial_set.utterances)
    units = unit_vectors(np.stack([known.embeddings[key] for key in keys]), keys)
    sides = gather_sides(trials, dict(zip(keys, units, strict=True)), enrollment)
    of_sides: Sequence[np.ndarray | None] = (None, None)
    if known.backend.needs_seconds:
        of_sides = side_seconds(trials, known.seconds, enrollment)
    return known.backend.score(
        trials,
        Voices.of(sides.enrolled, trials.enroll_ids, of_sides[0]),
        Voices.of(sides.tested, trials.test_ids, of_sides[1]),
    )


def _conditions(
    trial_set: TrialSet, seconds: Mapping[str, float], task: EvaluationTask
) -> Conditions | None:
    """The condition of each trial; ``None`` if the trials are not divided."""
    if task.by is None:
        return None
    return trial_conditions(
        task.by,
        trial_set.trials,
        table=task.by_table,
        durations=seconds,
        enrollment=trial_set.enrollment,
        edges=task.by_seconds,
    )


def used_seconds(
    sets: Sequence[TrialSet],
    recordings: Mapping[str, Recording],
    backend: Backend,
    task: EvaluationTask,
) -> dict[str, float]:
    """The seconds of each utterance that are used, by id: from the manifest, or else its recording.
    Nothing if neither the back end nor the conditions depend on them."""
    divides = task.by == DURATION and task.by_table is None
    if not divides and not backend.needs_seconds:
        return {}
    most = np.inf if task.max_seconds is None else task.max_seconds
    found = {key: recordings[key] for key in set[str]().union(*(one.utterances for one in sets))}
    return {
        key: min(audio_duration(each.path) if each.duration is None else each.duration, most)
        for key, each in found.items()
    }


def rated(
    trial_set: TrialSet,
    scores: np.ndarray,
    seconds: Mapping[str, float],
    task: EvaluationTask,
) -> EvaluationResult:
    """The metrics of the scores of a set, also by condition if the task asks for it.

    Args:
        scores: float64 ``[trials]``.
        seconds: those of :func:`used_seconds`.
    """
    trials, intervals = trial_set.trials, None
    conditions = _conditions(trial_set, seconds, task)
    speakers = trial_speakers(trials)
    if task.bootstrap:
        intervals = bootstrap_intervals(
            scores, trials.targets, *speakers, replicates=task.bootstrap
        )
    rating, by_condition = rate(scores, trials.targets), None
    if conditions is not None:
        by_condition = rate_by_condition(
            scores, trials, conditions, threshold=rating.threshold, bootstrap=task.bootstrap
        )
    return EvaluationResult(
        name=trial_set.name,
        scores=scores,
        targets=trials.targets,
        rating=rating,
        speakers=len(np.unique(np.concatenate(speakers))),
        recordings=len(trial_set.utterances),
        notes=trial_set.notes,
        intervals=intervals,
        by_condition=by_condition,
    )
