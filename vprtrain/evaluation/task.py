"""Evaluate a checkpoint on a trial list, with each form of enrolment that the recordings allow."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from vprtrain.checkpoint.state_file import SavedCheckpoint
from vprtrain.data.audio import Channel
from vprtrain.data.manifest import Recording
from vprtrain.data.rank_share import RankShare
from vprtrain.data.reading import Reading
from vprtrain.data.whole_utterances import WholeUtterances
from vprtrain.errors import UsageError
from vprtrain.evaluation.cohort import extract_cohort
from vprtrain.evaluation.extraction import CachedEmbedder, EmbeddingRuntime, weights_sha256
from vprtrain.evaluation.trial_sets import TrialSet, trial_sets
from vprtrain.files import file_sha256, path_from_here
from vprtrain.ranks.ranks import Ranks
from vprtrain.scoring.bootstrap import bootstrap_intervals, trial_speakers
from vprtrain.scoring.cosine import dot_products, score_trials, unit_sides
from vprtrain.scoring.evaluation_result import EvaluationResult
from vprtrain.scoring.normalize import DEFAULT_TOP, Cohort, Norm, normalize_scores
from vprtrain.scoring.rating import rate
from vprtrain.scoring.report import file_name, write_report
from vprtrain.scoring.score_file import write_scores
from vprtrain.scoring.trials import read_trials
from vprtrain.speaker.state import SpeakerState
from vprtrain.speaker.trials import TrialIds, listed_recordings, lists_by_name

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class EvaluationTask:
    """What a checkpoint is evaluated on, and how.

    Args:
        data_set: its name for people; ``None`` for that of the trial lists.
        trials: a trial list, or ppvector's list of test utterances if ``enroll_list`` is given; or
            several lists by name.
        eval_manifest: lines of ``id<TAB>path[<TAB>seconds]``; ``None`` for ppvector's lists, whose
            ids are paths.
        enroll: lines of ``enrol-id id id ...``. With it the headline is the averaged enrolment; if
            the manifest also has recordings of the enrol ids, the concatenated enrolment is scored
            too. Without it every enrol id is a recording.
        enroll_list: ppvector's list of enrolment utterances.
        sample_rate, channel, workers: as in :class:`vprtrain.data.Reading`.
        max_seconds: only the beginning of longer recordings is used; ``None`` uses all of them.
        cohort: a training manifest. The scores are also normalised by its speakers. ``None`` for
            cosines only.
        norm, top: as in :func:`vprtrain.scoring.normalize.normalize_scores`.
        bootstrap: the number of draws of speakers for confidence intervals; 0 for no intervals.
        write_scores: write the score of every trial to ``scores_<name>.txt`` beside the report.

    Raises:
        UsageError: an option is out of its range.
    """

    data_set: str | None = None
    trials: str | Mapping[str, str]
    eval_manifest: str | None = None
    enroll: str | None = None
    enroll_list: str | None = None
    sample_rate: int = 16000
    channel: Channel = 0
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

    @property
    def data_name(self) -> str:
        """What the checkpoint is evaluated on, for people."""
        lists = lists_by_name(self.trials)
        return self.data_set or ", ".join(name or str(path) for name, path in lists.items())

    def utterances(self, recordings: Mapping[str, Recording], ranks: Ranks) -> WholeUtterances:
        """The recordings with this task's reading options, shared among the ranks."""
        return WholeUtterances(
            recordings,
            reading=Reading(
                sample_rate=self.sample_rate, channel=self.channel, workers=self.workers
            ),
            share=RankShare(ranks.rank, ranks.size),
            max_seconds=self.max_seconds,
            lenient=True,
        )


def report_folder(saved: SavedCheckpoint, trials: str | Mapping[str, str]) -> Path:
    """The folder for the report on a trial list, or on several by name.

    It lies beside the checkpoint's folder, into which nothing is ever written.
    """
    name = Path(trials).stem if isinstance(trials, str) else "+".join(trials)
    return saved.folder.parent / "validation" / saved.folder.name / name


def evaluate(
    saved: SavedCheckpoint,
    task: EvaluationTask,
    out: Path,
    ranks: Ranks | None = None,
    *,
    about: Mapping[str, Any] = MappingProxyType({}),
    choose_runtime: Callable[[int], EmbeddingRuntime | None] = lambda recordings: None,
) -> list[EvaluationResult]:
    """Score the trials and write the report into ``out``.

    The embeddings are kept in ``out/embeddings``. A trial is dropped if a recording that it needs
    is not in the manifest, not on disk, or cannot be read. The log and the report name these
    recordings and count the trials. Several ranks share the recordings; rank 0 does the rest.

    Args:
        about: further JSON values for the report, which come first: the date, the command.
        choose_runtime: gives what computes the embeddings of this number of recordings; ``None``
            for Paddle. It is called once.

    Returns:
        The results, the headline first. On ranks other than 0: nothing.

    Raises:
        UsageError: a list cannot be used, or no trial of it can be scored.
        CheckpointError: the checkpoint is not that of a speaker model.
        RunError: ``out`` cannot be written.
    """
    ranks = ranks or Ranks()
    lists = {
        name: read_trials(path, enroll_list=task.enroll_list)
        for name, path in lists_by_name(task.trials).items()
    }
    ids = TrialIds.of(lists.values())
    recordings = listed_recordings(ids, task.eval_manifest, task.enroll_list)
    complete = trial_sets(lists, task.enroll, recordings)
    needed = set[str]().union(*(each.utterances for each in complete))
    present = {key for key in needed if key in recordings and os.path.isfile(recordings[key].path)}
    usable = [each.usable(present) for each in complete]

    runtime = choose_runtime(len(present))
    embedder = CachedEmbedder(saved, cache=out / "embeddings", ranks=ranks, runtime=runtime)
    embeddings = _embed_all(embedder, task, usable, recordings, ranks)
    cohort = None
    if task.cohort is not None:
        cohort = extract_cohort(embedder, task.cohort, partial(task.utterances, ranks=ranks))
    if not ranks.is_first:
        return []
    if unreadable := {key for key, embedding in embeddings.items() if np.isnan(embedding[0])}:
        usable = [each.usable(present - unreadable) for each in complete]

    scored = _score_all(usable, embeddings, cohort, task)
    if task.write_scores:
        for each, scores in scored:
            write_scores(out / f"scores_{file_name(each.name)}.txt", each.trials, scores)
    results = [_rate(each, scores, task) for each, scores in scored]
    facts = {**about, **_facts(saved, task)}
    if runtime is not None:
        facts["runtime"] = runtime.name
    title = f"{saved.folder.parent.name}/{saved.folder.name} on {task.data_name}"
    write_report(out, title=title, facts=facts, results=results)
    log.info("the report is %s", path_from_here(out / "report.html"))
    return results


def _embed_all(
    embedder: CachedEmbedder,
    task: EvaluationTask,
    sets: Sequence[TrialSet],
    recordings: Mapping[str, Recording],
    ranks: Ranks,
) -> dict[str, np.ndarray]:
    """The embeddings of all needed utterances, by id. On ranks other than 0: nothing.

    The utterances of the headline's form of enrolment are embedded first and alone. So their
    batches, and the last bits of their embeddings, are those of the validation during training.
    """
    embeddings: dict[str, np.ndarray] = {}
    done: set[str] = set()
    digest = file_sha256(task.eval_manifest or next(iter(lists_by_name(task.trials).values())))
    for form in dict.fromkeys(each.form for each in sets):
        needed = set[str]().union(*(each.utterances for each in sets if each.form == form))
        if pending := needed - done:
            done |= pending
            utterances = task.utterances({key: recordings[key] for key in pending}, ranks)
            if (store := embedder.embed(utterances, manifest_sha256=digest)) is not None:
                embeddings |= store.read()
    return embeddings


def _score_all(
    sets: Sequence[TrialSet],
    embeddings: Mapping[str, np.ndarray],
    cohort: Cohort | None,
    task: EvaluationTask,
) -> list[tuple[TrialSet, np.ndarray]]:
    """The scores of all sets; with a cohort, then the normalised scores of all sets."""
    scored = [(each, score_trials(each.trials, embeddings, each.enrollment)) for each in sets]
    if cohort is None:
        return scored
    for each in sets:
        sides = unit_sides(each.trials, embeddings, each.enrollment, mean=cohort.mean)
        scores = normalize_scores(
            dot_products(each.trials, sides),
            each.trials,
            sides,
            cohort,
            norm=task.norm,
            top=task.top,
        )
        scored.append((replace(each, form=f"{each.form}, {task.norm}"), scores))
    return scored


def _rate(trial_set: TrialSet, scores: np.ndarray, task: EvaluationTask) -> EvaluationResult:
    trials, intervals = trial_set.trials, None
    speakers = trial_speakers(trials)
    if task.bootstrap:
        intervals = bootstrap_intervals(
            scores, trials.targets, *speakers, replicates=task.bootstrap
        )
    return EvaluationResult(
        name=trial_set.name,
        scores=scores,
        targets=trials.targets,
        rating=rate(scores, trials.targets),
        speakers=len(np.unique(np.concatenate(speakers))),
        recordings=len(trial_set.utterances),
        notes=trial_set.notes,
        intervals=intervals,
    )


def _facts(saved: SavedCheckpoint, task: EvaluationTask) -> dict[str, Any]:
    state, speaker = saved.state, SpeakerState.of(saved)
    return {
        "data_set": task.data_name,
        "checkpoint": str(saved.folder),
        "weights_sha256": weights_sha256(saved),
        "epoch": state.last_epoch,
        "step": state.step,
        "model": speaker.model,
        "feature": speaker.feature,
        "trials": task.trials if isinstance(task.trials, str) else dict(task.trials),
        "enroll_list": task.enroll_list,
        "eval_manifest": task.eval_manifest,
        "enroll": task.enroll,
        "max_seconds": task.max_seconds,
        "cohort": task.cohort,
        "norm": None
        if task.cohort is None
        else task.norm + (f", top {task.top}" if task.norm == "as-norm" else ""),
    }
