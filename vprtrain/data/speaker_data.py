"""The speakers' DataModule: random parts of labelled utterances, and the whole utterances of a trial list."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing
from itertools import islice
from typing import Any, NamedTuple

import numpy as np

from vprtrain.data.audio import read_audio
from vprtrain.data.dataset import MIN_SECONDS, TrainingCrops, fill
from vprtrain.data.loader import load_in_order
from vprtrain.data.manifest import Manifest, Recording, file_sha256, read_manifest, read_recordings
from vprtrain.data.sampler import EpochSampler
from vprtrain.engine.module import DataModule
from vprtrain.errors import UsageError
from vprtrain.scoring.trials import Enrollment, Trials, read_enrollment, read_trials

StrPath = str | os.PathLike[str]

MAX_EVALUATION_SECONDS = 120.0
"""Of sound in an evaluation batch, unless a single utterance is longer"""


class SpeakerBatch(NamedTuple):
    """A training batch."""

    waveforms: np.ndarray
    """float32 ``[batch, samples]`` in [-1, 1]"""
    labels: np.ndarray
    """int64 ``[batch]``, class indices"""


class EvaluationBatch(NamedTuple):
    """Whole utterances of one length."""

    keys: tuple[str, ...]
    """The utterances' ids in the trials or the enrolment"""
    waveforms: np.ndarray
    """float32 ``[len(keys), samples]``: nothing is ever padded to another's length"""


class SpeakerData(DataModule):
    """Training batches out of a manifest, validation batches out of a trial list.

    Args:
        train_manifest: lines of ``path<TAB>speaker[<TAB>seconds]``. trials: a trial list in any of the forms
        of :func:`vprtrain.scoring.trials.read_trials`; none, no validation. eval_manifest: lines of
        ``id<TAB>path[<TAB>seconds]``, the recordings that trials and enrolment speak of. enroll: lines of
        ``enrol-id id id ...``: an enrolment is the mean of several utterances' embeddings. Without
            it, every enrol id of the trials is a recording itself.
        batch_size: utterances in a training batch.
        crop_seconds: the length of a training waveform; a shorter utterance is repeated.
        sample_rate: in Hz, to which all recordings are resampled.
        workers: threads that read; 0 reads in the training thread.
        prefetch: batches read ahead.
        seed: of the order and of the random parts.

    Raises :class:`UsageError` for arguments and files that cannot be trained or evaluated on.
    """

    unit = "utterances"

    def __init__(
        self,
        *,
        train_manifest: StrPath,
        trials: StrPath | None = None,
        eval_manifest: StrPath | None = None,
        enroll: StrPath | None = None,
        batch_size: int = 64,
        crop_seconds: float = 3.0,
        sample_rate: int = 16000,
        workers: int = 2,
        prefetch: int = 4,
        seed: int = 0,
    ) -> None:
        for name, value, least in (
            ("batch_size", batch_size, 1),
            ("crop_seconds", crop_seconds, MIN_SECONDS),
            ("sample_rate", sample_rate, 1000),
            ("workers", workers, 0),
            ("prefetch", prefetch, 1),
            ("seed", seed, 0),
        ):
            if not value >= least:  # NaN too
                raise UsageError(f"{name} is {value}; expected {least} or more")
        self.manifest = _trainable(train_manifest, batch_size)
        self.workers = workers
        self.prefetch = prefetch
        self._sampler = EpochSampler(size=len(self.manifest), batch_size=batch_size, seed=seed)
        self._crops = TrainingCrops(
            manifest=self.manifest, crop_seconds=crop_seconds, sample_rate=sample_rate, seed=seed
        )
        self.trials: Trials | None = None
        self.enrollment: Enrollment | None = None
        self._recordings: dict[str, Recording] = {}
        if trials is not None:
            if eval_manifest is None:
                raise UsageError(f"trials {trials} need eval_manifest, which says where their recordings are")
            self.trials = read_trials(trials)
            self.enrollment = None if enroll is None else read_enrollment(enroll)
            self._recordings = _evaluated(self.trials, self.enrollment, enroll or trials, eval_manifest)
        elif eval_manifest is not None or enroll is not None:
            raise UsageError("eval_manifest and enroll are only used with trials; give trials too, or none of them")
        texts = {"trials": trials, "eval_manifest": eval_manifest, "enroll": enroll}
        self._fingerprint = {
            "train_manifest": self.manifest.sha256,
            **{name: None if path is None else file_sha256(path) for name, path in texts.items()},
            "batch_size": batch_size,
            "crop_seconds": crop_seconds,
            "sample_rate": sample_rate,
            "seed": seed,
        }

    @property
    def num_speakers(self) -> int:
        """The number of classes, counted from the training manifest."""
        return len(self.manifest.speakers)

    @property
    def steps_per_epoch(self) -> int:
        return self._sampler.steps_per_epoch

    def train_batches(self, epoch: int, start: int) -> Iterator[SpeakerBatch]:
        size = self._sampler.batch_size
        samples = load_in_order(
            lambda index: self._crops.sample(epoch, index),
            self._sampler.indices(epoch, start),
            workers=self.workers,
            prefetch=self.prefetch * size,
        )
        with closing(samples):
            while batch := list(islice(samples, size)):
                waveforms, labels = zip(*batch, strict=True)
                yield SpeakerBatch(np.stack(waveforms), np.array(labels, dtype=np.int64))

    def validation_batches(self) -> Iterator[EvaluationBatch] | None:
        """Every utterance that trials or enrolment name, once and whole; repeated if below half a second."""
        return self._evaluation_batches() if self.trials is not None else None

    def _evaluation_batches(self) -> Iterator[EvaluationBatch]:
        # By duration, so that equally long ones follow each other; then, and always the same, by id.
        keys = sorted(self._recordings, key=lambda key: (self._recordings[key].duration or 0.0, key))
        limit = MAX_EVALUATION_SECONDS * self._crops.sample_rate
        waveforms = load_in_order(self._read_whole, keys, workers=self.workers, prefetch=4 * self.workers)
        with closing(waveforms):
            batch: list[tuple[str, np.ndarray]] = []
            for key, waveform in zip(keys, waveforms, strict=True):
                full = (len(batch) + 1) * len(waveform) > limit
                if batch and (full or len(waveform) != len(batch[0][1])):
                    yield _evaluation_batch(batch)
                    batch = []
                batch.append((key, waveform))
            yield _evaluation_batch(batch)

    def _read_whole(self, key: str) -> np.ndarray:
        rate = self._crops.sample_rate
        return fill(read_audio(self._recordings[key].path, sample_rate=rate), round(MIN_SECONDS * rate))

    def fingerprint(self) -> dict[str, Any]:
        return dict(self._fingerprint)

    def batch_size(self, batch: SpeakerBatch | EvaluationBatch) -> int:
        return len(batch.waveforms)


def _evaluation_batch(utterances: list[tuple[str, np.ndarray]]) -> EvaluationBatch:
    keys, waveforms = zip(*utterances, strict=True)
    return EvaluationBatch(keys, np.stack(waveforms))


def _trainable(train_manifest: StrPath, batch_size: int) -> Manifest:
    """The manifest, with two speakers and a batch in it at least, and recordings where it says they are."""
    manifest = read_manifest(train_manifest)
    manifest.require_speakers(2)
    if len(manifest) < batch_size:
        raise UsageError(
            f"{train_manifest}: {len(manifest)} utterances do not fill one batch of {batch_size}; "
            "make batch_size smaller"
        )
    first = manifest[0].path  # looking for a million would take minutes; a moved data set shows in the first
    if not os.path.isfile(first):
        _refuse_missing([first], f"{train_manifest}: recordings that are not on disk")
    return manifest


def _evaluated(
    trials: Trials, enrollment: Enrollment | None, enrolled_in: StrPath, eval_manifest: StrPath
) -> dict[str, Recording]:
    """The recordings that an evaluation needs; a missing one is found now, not after days of training."""
    enrolled = set(trials.enroll_ids)
    if enrollment is not None:
        unknown = [key for key in trials.enroll_ids if key not in enrollment]
        _refuse_missing(unknown, f"{enrolled_in}: no line for enrol ids of the trials")
        enrolled = {utterance for key in trials.enroll_ids for utterance in enrollment[key]}
    needed = sorted(enrolled.union(trials.test_ids))
    recordings = read_recordings(eval_manifest)
    _refuse_missing([key for key in needed if key not in recordings], f"{eval_manifest}: no line for ids of the trials")
    absent = [recordings[key].path for key in needed if not os.path.isfile(recordings[key].path)]
    _refuse_missing(absent, f"{eval_manifest}: recordings that are not on disk")
    return {key: recordings[key] for key in needed}


def _refuse_missing(missing: list[str], what: str) -> None:
    if missing:
        others = f" and {len(missing) - 5} more" if len(missing) > 5 else ""
        raise UsageError(f"{what}: {', '.join(missing[:5])}{others}; prepare the data set again")
