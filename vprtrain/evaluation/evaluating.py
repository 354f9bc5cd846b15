"""Evaluate a checkpoint on a trial list, with each form of enrolment that the recordings allow."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from vprtrain.checkpoint.state_file import SavedCheckpoint
from vprtrain.data.manifest import Recording
from vprtrain.evaluation.cohort import extract_cohort
from vprtrain.evaluation.extraction import CachedEmbedder, EmbeddingRuntime, weights_sha256
from vprtrain.evaluation.task import EvaluationTask
from vprtrain.evaluation.trial_scores import Known, rated, score_all, used_seconds
from vprtrain.evaluation.trial_sets import TrialSet, trial_sets
from vprtrain.files import file_sha256, path_from_here
from vprtrain.ranks.ranks import Ranks
from vprtrain.scoring.evaluation_result import EvaluationResult
from vprtrain.scoring.report import file_name, write_report
from vprtrain.scoring.score_file import write_scores
from vprtrain.scoring.trials import read_trials
from vprtrain.speaker.state import SpeakerState
from vprtrain.speaker.trials import TrialIds, listed_recordings, lists_by_name

log = logging.getLogger(__name__)


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

    If the checkpoint carries another back end than the cosine, the trials are scored by it first:
    the headline is then in the scale of the checkpoint's threshold. The plain cosines follow.

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

    backend = SpeakerState.of(saved).backend
    known = Known(embeddings, used_seconds(usable, recordings, backend, task), cohort, backend)
    scored = score_all(usable, known, task)
    if task.write_scores:
        for each, scores in scored:
            write_scores(out / f"scores_{file_name(each.name)}.txt", each.trials, scores)
    results = [rated(each, scores, known.seconds, task) for each, scores in scored]
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
        "backend": str(speaker.backend),
        "cohort": task.cohort,
        "norm": None
        if task.cohort is None
        else task.norm + (f", top {task.top}" if task.norm == "as-norm" else ""),
    }
