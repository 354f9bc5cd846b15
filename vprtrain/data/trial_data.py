"""The evaluation's side of the data: the whole utterances that a trial list and its enrolment speak of."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing
from typing import Any, NamedTuple

import numpy as np

from vprtrain.data.audio import read_audio
from vprtrain.data.dataset import MIN_SECONDS, fill
from vprtrain.data.loader import load_in_order
from vprtrain.data.manifest import Recording, file_sha256, read_recordings
from vprtrain.engine.module import ValidationData
from vprtrain.errors import UsageError
from vprtrain.scoring.trials import Enrollment, Trials, read_enrollment, read_trials

StrPath = str | os.PathLike[str]

MAX_BATCH_SECONDS = 120.0
"""Of sound in an evaluation batch, unless a single utterance is longer"""


class EvaluationBatch(NamedTuple):
    """Whole utterances of one length."""

    keys: tuple[str, ...]
    """The utterances' ids in the trials or the enrolment"""
    waveforms: np.ndarray
    """float32 ``[len(keys), samples]``: nothing is ever padded to another's length"""


class TrialData(ValidationData):
    """Every utterance that trials or enrolment name, once and whole (repeated if below half a second).

    Args:
        trials: a trial list in any of the forms of :func:`vprtrain.scoring.trials.read_trials`.
        eval_manifest: lines of ``id<TAB>path[<TAB>seconds]``, the recordings that trials and enrolment speak of.
        enroll: lines of ``enrol-id id id ...``: an enrolment is the mean of several utterances' embeddings. Without
            it, every enrol id of the trials is a recording itself.
        sample_rate: in Hz, to which all recordings are resampled.
        workers: threads that read; 0 reads in the calling thread.

    Raises :class:`UsageError` for files that cannot be evaluated on, recordings that are missing included.
    """

    unit = "utterances"

    def __init__(
        self,
        *,
        trials: StrPath,
        eval_manifest: StrPath,
        enroll: StrPath | None = None,
        sample_rate: int = 16000,
        workers: int = 2,
    ) -> None:
        self.trials: Trials = read_trials(trials)
        self.enrollment: Enrollment | None = None if enroll is None else read_enrollment(enroll)
        self._recordings = _evaluated(self.trials, self.enrollment, enroll or trials, eval_manifest)
        self._sample_rate = sample_rate
        self._workers = workers
        files = {"trials": trials, "eval_manifest": eval_manifest, "enroll": enroll}
        self._fingerprint = {name: None if path is None else file_sha256(path) for name, path in files.items()}

    def validation_batches(self) -> Iterator[EvaluationBatch]:
        # By duration, so that equally long ones follow each other; then, and always the same, by id.
        keys = sorted(self._recordings, key=lambda key: (self._recordings[key].duration or 0.0, key))
        limit = MAX_BATCH_SECONDS * self._sample_rate
        waveforms = load_in_order(self._read_whole, keys, workers=self._workers, prefetch=4 * self._workers)
        with closing(waveforms):
            batch: list[tuple[str, np.ndarray]] = []
            for key, waveform in zip(keys, waveforms, strict=True):
                full = (len(batch) + 1) * len(waveform) > limit
                if batch and (full or len(waveform) != len(batch[0][1])):
                    yield _evaluation_batch(batch)
                    batch = []
                batch.append((key, waveform))
            yield _evaluation_batch(batch)

    def fingerprint(self) -> dict[str, Any]:
        """Digests of the files' texts."""
        return dict(self._fingerprint)

    def _read_whole(self, key: str) -> np.ndarray:
        waveform = read_audio(self._recordings[key].path, sample_rate=self._sample_rate)
        return fill(waveform, round(MIN_SECONDS * self._sample_rate))


def refuse_missing(missing: list[str], what: str) -> None:
    """Raise :class:`UsageError` that names the first few of them, where there are any."""
    if missing:
        others = f" and {len(missing) - 5} more" if len(missing) > 5 else ""
        raise UsageError(f"{what}: {', '.join(missing[:5])}{others}; prepare the data set again")


def _evaluation_batch(utterances: list[tuple[str, np.ndarray]]) -> EvaluationBatch:
    keys, waveforms = zip(*utterances, strict=True)
    return EvaluationBatch(keys, np.stack(waveforms))


def _evaluated(
    trials: Trials, enrollment: Enrollment | None, enrolled_in: StrPath, eval_manifest: StrPath
) -> dict[str, Recording]:
    """The recordings that an evaluation needs; a missing one is found now, not after days of training."""
    enrolled = set(trials.enroll_ids)
    if enrollment is not None:
        unknown = [key for key in trials.enroll_ids if key not in enrollment]
        refuse_missing(unknown, f"{enrolled_in}: no line for enrol ids of the trials")
        enrolled = {utterance for key in trials.enroll_ids for utterance in enrollment[key]}
    needed = sorted(enrolled.union(trials.test_ids))
    recordings = read_recordings(eval_manifest)
    refuse_missing([key for key in needed if key not in recordings], f"{eval_manifest}: no line for ids of the trials")
    absent = [recordings[key].path for key in needed if not os.path.isfile(recordings[key].path)]
    refuse_missing(absent, f"{eval_manifest}: recordings that are not on disk")
    return {key: recordings[key] for key in needed}
