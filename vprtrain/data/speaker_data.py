"""The speakers' DataModule: random parts of labelled utterances, and the whole utterances of a trial list."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing
from itertools import islice
from typing import Any, NamedTuple

import numpy as np

from vprtrain.data.dataset import MIN_SECONDS, TrainingCrops
from vprtrain.data.loader import load_in_order
from vprtrain.data.manifest import Manifest, read_manifest
from vprtrain.data.sampler import EpochSampler
from vprtrain.data.trial_data import EvaluationBatch, StrPath, TrialData, refuse_missing
from vprtrain.engine.module import DataModule
from vprtrain.errors import UsageError


class SpeakerBatch(NamedTuple):
    """A training batch."""

    waveforms: np.ndarray
    """float32 ``[batch, samples]`` in [-1, 1]"""
    labels: np.ndarray
    """int64 ``[batch]``, class indices"""


class SpeakerData(DataModule):
    """Training batches out of a manifest, validation batches out of a trial list.

    Args:
        train_manifest: lines of ``path<TAB>speaker[<TAB>seconds]``.
        trials: a trial list; none, no validation. It and the next two are :class:`TrialData`'s.
        eval_manifest: lines of ``id<TAB>path[<TAB>seconds]``, the recordings that trials and enrolment speak of.
        enroll: lines of ``enrol-id id id ...``; none where an enrol id is a recording itself.
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
        self.evaluation: TrialData | None = None
        if trials is not None and eval_manifest is not None:
            self.evaluation = TrialData(
                trials=trials, eval_manifest=eval_manifest, enroll=enroll, sample_rate=sample_rate, workers=workers
            )
        elif trials is not None or eval_manifest is not None or enroll is not None:
            raise UsageError(
                f"trials {trials} and eval_manifest {eval_manifest}: expected both (and enroll, if enrolments are "
                "averaged), or none of the three, for no validation"
            )
        self._fingerprint = {
            "train_manifest": self.manifest.sha256,
            **({} if self.evaluation is None else self.evaluation.fingerprint()),
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
    def num_classes(self) -> int:
        """How many classes the labels of the batches tell apart; nobody else says how many a head must have."""
        return self.num_speakers

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
        return None if self.evaluation is None else self.evaluation.validation_batches()

    def fingerprint(self) -> dict[str, Any]:
        return dict(self._fingerprint)

    def batch_size(self, batch: SpeakerBatch) -> int:
        return len(batch.waveforms)


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
        refuse_missing([first], f"{train_manifest}: recordings that are not on disk")
    return manifest
