"""A checkpoint on a trial list, by every enrolment that the recordings allow."""

from __future__ import annotations

import logging
import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from vprtrain.checkpoint.state_file import SavedCheckpoint
from vprtrain.data.manifest import Recording, file_sha256
from vprtrain.data.whole_utterances import WholeUtterances
from vprtrain.errors import UsageError
from vprtrain.evaluation.cohort import extract_cohort
from vprtrain.evaluation.extraction import CachedEmbedder, weights_sha256
from vprtrain.ranks.ranks import Ranks
from vprtrain.scoring.bootstrap import bootstrap_intervals, trial_speakers
from vprtrain.scoring.cosine import dot_products, score_trials, unit_sides
from vprtrain.scoring.normalize import DEFAULT_TOP, Norm, normalize_scores
from vprtrain.scoring.rating import rate
from vprtrain.scoring.report import EvaluationResult, file_name, write_report
from vprtrain.scoring.score_file import write_scores
from vprtrain.scoring.trials import Enrollment, Trials, read_enrollment, read_trials, usable_trials
from vprtrain.speaker.trials import listed_recordings

log = logging.getLogger(__name__)

AVERAGED = "averaged enrolment"
CONCATENATED = "concatenated enrolment"
SINGLE = "cosine"

_NAMED = 20
"""Recordings in a line of the log; the report has all of them"""


@dataclass(frozen=True, kw_only=True)
class EvaluationTask:
    """What a checkpoint is evaluated on.

    Args:
        trials, enroll_list: a trial list, or ppvector's two lists.
        eval_manifest: lines of ``id<TAB>path[<TAB>seconds]``; ``None`` with ppvector's lists, which
            name paths.
        enroll: lines of ``enrol-id id id ...``. With it, the averaged enrolment is the headline,
            and where the manifest knows the enrol ids themselves, their recordings are the
            concatenated one; without it, every enrol id is a recording.
        sample_rate, channel, workers: as :class:`WholeUtterances` takes them.
        max_seconds: only the beginning of longer recordings; ``None`` for all of them.
        cohort: a training manifest, whose speakers the scores are also normalised by; ``None`` for
            plain cosines only.
        norm, top: how they are normalised, as :func:`vprtrain.scoring.normalize.normalize_scores`
            takes it.
        bootstrap: so many draws of the speakers, for confidence intervals; 0 for none.
        write_scores: leave every trial's score in ``scores_<name>.txt`` beside the report.
    """

    trials: str
    eval_manifest: str | None = None
    enroll: str | None = None
    enroll_list: str | None = None
    sample_rate: int = 16000
    channel: int = 0
    max_seconds: float | None = None
    workers: int = 2
    cohort: str | None = None
    norm: Norm = "as-norm"
    top: int = DEFAULT_TOP
    bootstrap: int = 0
    write_scores: bool = False

    def __post_init__(self) -> None:
        seconds = 1.0 if self.max_seconds is None else self.max_seconds
        for name, value, least in (
            ("top", self.top, 2),
            ("bootstrap", self.bootstrap, 0),
            ("workers", self.workers, 0),
        ):
            if value < least:
                raise UsageError(f"{name} is {value}: expected {least} or more")
        if not seconds > 0:
            raise UsageError(f"max_seconds is {seconds}: expected more than 0")

    def utterances(self, recordings: Mapping[str, Recording], ranks: Ranks) -> WholeUtterances:
        """These recordings, as they are read here, shared out among the ranks."""
        return WholeUtterances(
            recordings,
            sample_rate=self.sample_rate,
            channel=self.channel,
            max_seconds=self.max_seconds,
            workers=self.workers,
            rank=ranks.rank,
            world_size=ranks.size,
            lenient=True,
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class _Enrolled:
    """The trials that can be scored by one enrolment."""

    name: str
    trials: Trials
    enrollment: Enrollment | None
    notes: Mapping[str, Any]

    @property
    def utterances(self) -> set[str]:
        return _needed(self.trials, self.enrollment)


def report_folder(saved: SavedCheckpoint, trials: str) -> Path:
    """Beside the checkpoint, into which nothing is ever written; of each trial list a folder of its
    own."""
    return saved.folder.parent / "validation" / saved.folder.name / Path(trials).stem


def evaluate(
    saved: SavedCheckpoint, task: EvaluationTask, out: Path, ranks: Ranks | None = None
) -> list[EvaluationResult]:
    """Score the trials, write the report into ``out``, and give the results, the headline first.

    The embeddings are kept in ``out/embeddings``. Trials of recordings that are not in the
    manifest, not on disk or not to be read are dropped; the log and the report name the recordings
    and count the trials. Several ranks share the recordings out; the first does the rest, and the
    others give no result.

    Raises:
        UsageError: a list cannot be used, or no trial of it can be scored.
        CheckpointError: the checkpoint is not a speaker model's.
        RunError: ``out`` cannot be written.
    """
    trials = read_trials(task.trials, enroll_list=task.enroll_list)
    recordings = listed_recordings(trials, task.eval_manifest, task.enroll_list)
    enrollments = _enrollments(trials, task, recordings)
    needed = set[str]().union(*(_needed(trials, enrollment) for enrollment in enrollments.values()))
    present = {key for key in needed if key in recordings and os.path.isfile(recordings[key].path)}
    chosen = [
        _scorable(name, trials, enrollment, present) for name, enrollment in enrollments.items()
    ]
    ranks = ranks or Ranks()
    embedder = CachedEmbedder(saved, cache=out / "embeddings", ranks=ranks)
    embeddings = _embeddings(embedder, task, chosen, recordings, ranks)
    cohort = None
    if task.cohort is not None:
        cohort = extract_cohort(embedder, task.cohort, partial(task.utterances, ranks=ranks))
    if not ranks.is_first:
        return []
    if unreadable := {key for key, embedding in embeddings.items() if np.isnan(embedding[0])}:
        present -= unreadable
        chosen = [
            _scorable(name, trials, enrollment, present) for name, enrollment in enrollments.items()
        ]
    scored = [
        (each, each.name, score_trials(each.trials, embeddings, each.enrollment)) for each in chosen
    ]
    if cohort is not None:
        for each in chosen:
            sides = unit_sides(each.trials, embeddings, each.enrollment, mean=cohort.mean)
            scores = dot_products(each.trials, sides)
            scores = normalize_scores(
                scores, each.trials, sides, cohort, norm=task.norm, top=task.top
            )
            scored.append((each, f"{each.name}, {task.norm}", scores))
    results = [_rated(each, name, scores, task) for each, name, scores in scored]
    if task.write_scores:
        for each, name, scores in scored:
            write_scores(out / f"scores_{file_name(name)}.txt", each.trials, scores)
    write_report(
        out,
        title=f"{saved.folder.parent.name}/{saved.folder.name}",
        facts=_facts(saved, task),
        results=results,
    )
    log.info("the report is %s", out / "report.html")
    return results


def _rated(
    enrolled: _Enrolled, name: str, scores: np.ndarray, task: EvaluationTask
) -> EvaluationResult:
    trials, intervals = enrolled.trials, None
    if task.bootstrap:
        intervals = bootstrap_intervals(
            scores, trials.targets, *trial_speakers(trials), replicates=task.bootstrap
        )
    return EvaluationResult(
        name=name,
        scores=scores,
        targets=trials.targets,
        rating=rate(scores, trials.targets),
        notes=enrolled.notes,
        intervals=intervals,
    )


def _enrollments(
    trials: Trials, task: EvaluationTask, recordings: Mapping[str, Recording]
) -> dict[str, Enrollment | None]:
    if task.enroll is None:
        return {SINGLE: None}
    averaged = read_enrollment(task.enroll)
    if any(key in recordings for key in trials.enroll_ids):
        return {AVERAGED: averaged, CONCATENATED: None}
    log.info("%s has no recording of the enrol ids: no concatenated enrolment", task.eval_manifest)
    return {AVERAGED: averaged}


def _embeddings(
    embedder: CachedEmbedder,
    task: EvaluationTask,
    chosen: list[_Enrolled],
    recordings: Mapping[str, Recording],
    ranks: Ranks,
) -> dict[str, np.ndarray]:
    """Of all that is needed, once each; in every rank but the first, nothing.

    The headline's utterances come alone first: in the same batches as in training, so to the same
    last bit.
    """
    embeddings: dict[str, np.ndarray] = {}
    done: set[str] = set()
    digest = file_sha256(task.eval_manifest or task.trials)
    for each in chosen:
        if missing := each.utterances - done:
            done |= missing
            utterances = task.utterances({key: recordings[key] for key in missing}, ranks)
            if (store := embedder.embed(utterances, manifest_sha256=digest)) is not None:
                embeddings |= store.read()
    return embeddings


def _scorable(
    name: str, trials: Trials, enrollment: Enrollment | None, present: Collection[str]
) -> _Enrolled:
    usable = usable_trials(trials, present, enrollment)
    missing = list(usable.missing)
    notes: dict[str, Any] = {"trials_in_list": len(trials), "dropped_trials": usable.dropped}
    if missing:
        notes["missing_recordings"] = missing
        said = f"{usable.dropped} of {len(trials)} trials are dropped, for want of {len(missing)} recordings"
        log.warning(
            "%s: %s: %s%s",
            name,
            said,
            ", ".join(missing[:_NAMED]),
            " ..." if len(missing) > _NAMED else "",
        )
        if len(set(usable.trials.targets.tolist())) < 2:
            left = "only one kind is left" if len(usable.trials) else "nothing is left"
            raise UsageError(f"{name}: {said}, and {left}: {', '.join(missing[:5])}")
    return _Enrolled(name=name, trials=usable.trials, enrollment=enrollment, notes=notes)


def _needed(trials: Trials, enrollment: Enrollment | None) -> set[str]:
    if enrollment is None:
        return {*trials.enroll_ids, *trials.test_ids}
    return {
        *trials.test_ids,
        *(one for key in trials.enroll_ids for one in enrollment.get(key, ())),
    }


def _facts(saved: SavedCheckpoint, task: EvaluationTask) -> dict[str, Any]:
    state = saved.state
    return {
        "checkpoint": str(saved.folder),
        "weights_sha256": weights_sha256(saved),
        "epoch": state.get("last_epoch"),
        "step": state.get("step"),
        "model": state["model"],
        "feature": state["feature"],
        "trials": task.trials,
        "enroll_list": task.enroll_list,
        "eval_manifest": task.eval_manifest,
        "enroll": task.enroll,
        "max_seconds": task.max_seconds,
        "cohort": task.cohort,
        "norm": None
        if task.cohort is None
        else task.norm + (f", top {task.top}" if task.norm == "as-norm" else ""),
    }
