"""The speakers' DataModule: random parts of labelled utterances, and the whole utterances of a
trial list."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from vprtrain.data.augmentation import Augmentation, SpeedPerturbation
from vprtrain.data.bad_audio import BadAudio, BadRecording, BadUtterancesError
from vprtrain.data.dataset import MIN_SECONDS, Sample, TrainingCrops
from vprtrain.data.loader import WORKER_TIMEOUT, load_in_order
from vprtrain.data.manifest import Manifest, read_manifest
from vprtrain.data.sampler import EpochSampler, SamplingOrder, ShuffledOrder
from vprtrain.data.shards import ShardSource
from vprtrain.data.source import Source
from vprtrain.engine.module import DataModule
from vprtrain.errors import UsageError
from vprtrain.speaker.state import AudioFormat
from vprtrain.speaker.trials import EvaluationBatch, StrPath, TrialData, refuse_missing


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
        shards: the folder that ``prepare --shards`` filled: training utterances are read from
            there. The batches are the same as from files.
        trials: a trial list; none, no validation. It and the next three are :class:`TrialData`'s.
        eval_manifest: lines of ``id<TAB>path[<TAB>seconds]``, the recordings that trials and
            enrolment speak of.
        enroll: lines of ``enrol-id id id ...``; none where an enrol id is a recording itself.
        enroll_list: ppvector's enrol list, where ``trials`` is its trials list.
        batch_size: utterances in a training batch, over all processes.
        order: how an epoch's utterances are drawn; none, each once.
        crop_seconds: the length of a training waveform; a shorter utterance is repeated. Two
            numbers are the least and the most, and each batch has a length of its own.
        min_seconds: a training utterance that is shorter counts as bad.
        speed_perturbation: none, or utterances also at other speeds.
        augmentations: what else is done to a training waveform, one after the other.
        sample_rate: in Hz, to which all recordings are resampled.
        channel: which is read of a recording with several, counted from 0.
        workers: threads that read; 0 reads in the training thread.
        prefetch: batches read ahead.
        worker_timeout: the run ends when an utterance takes longer to load, in seconds (not with 0
            workers).
        max_bad_share: the run ends when a larger share of the manifest's utterances was found bad.
            A bad one is replaced by the next, and ``bad_audio.tsv`` in the run directory names it;
            bad noise files as well, which are left out.
        seed: of the order, the random parts and the augmentations.
        rank: which of the processes this is: its batches are one part of the whole ones.
        world_size: how many processes there are.

    Raises :class:`UsageError` for arguments and files that cannot be trained or evaluated on.
    """

    unit = "utterances"

    def __init__(
        self,
        *,
        train_manifest: StrPath,
        shards: StrPath | None = None,
        trials: StrPath | None = None,
        eval_manifest: StrPath | None = None,
        enroll: StrPath | None = None,
        enroll_list: StrPath | None = None,
        batch_size: int = 64,
        order: SamplingOrder | None = None,
        crop_seconds: float | tuple[float, float] = 3.0,
        min_seconds: float = MIN_SECONDS,
        speed_perturbation: SpeedPerturbation | None = None,
        augmentations: Sequence[Augmentation] = (),
        sample_rate: int = 16000,
        channel: int = 0,
        workers: int = 2,
        prefetch: int = 4,
        worker_timeout: float = WORKER_TIMEOUT,
        max_bad_share: float = 0.01,
        seed: int = 0,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        shortest, longest = (
            crop_seconds if isinstance(crop_seconds, Sequence) else (crop_seconds, crop_seconds)
        )
        for name, value, least in (
            ("batch_size", batch_size, 1),
            ("crop_seconds", shortest, MIN_SECONDS),
            ("the longer crop_seconds", longest, shortest),
            ("min_seconds", min_seconds, 0),
            ("sample_rate", sample_rate, 1000),
            ("channel", channel, 0),
            ("workers", workers, 0),
            ("prefetch", prefetch, 1),
            ("worker_timeout", worker_timeout, 0),
            ("seed", seed, 0),
        ):
            if not value >= least:  # NaN too
                raise UsageError(f"{name} is {value}; expected {least} or more")
        self.manifest = _trainable(train_manifest, batch_size)
        self.world_size = world_size
        self._bad_audio = BadAudio(
            manifest=self.manifest, max_share=max_bad_share, collects=rank > 0
        )
        self.workers = workers
        self.prefetch = prefetch
        self.worker_timeout = worker_timeout
        order = order or ShuffledOrder()
        self._sampler = EpochSampler(
            labels=self.manifest.labels,
            batch_size=batch_size,
            seed=seed,
            order=order,
            rank=rank,
            world_size=world_size,
        )
        self._crops = TrainingCrops(
            source=_source(self.manifest, shards, sample_rate, channel),
            crop_seconds=(shortest, longest),
            seed=seed,
            min_seconds=min_seconds,
            speed_perturbation=speed_perturbation,
            augmentations=augmentations,
            max_bad=self._bad_audio.allowed,
        )
        self.evaluation: TrialData | None = None
        if trials is not None:
            self.evaluation = TrialData(
                trials=trials,
                eval_manifest=eval_manifest,
                enroll=enroll,
                enroll_list=enroll_list,
                sample_rate=sample_rate,
                channel=channel,
                workers=workers,
                worker_timeout=worker_timeout,
                rank=rank,
                world_size=world_size,
            )
        elif any(each is not None for each in (eval_manifest, enroll, enroll_list)):
            raise UsageError(
                f"eval_manifest {eval_manifest}, enroll {enroll}, enroll_list {enroll_list}, but no trials: expected "
                "trials too, or none of them, for no validation"
            )
        self._audio = AudioFormat(sample_rate, channel)
        self._fingerprint = {
            "train_manifest": self.manifest.sha256,
            **({} if self.evaluation is None else self.evaluation.fingerprint()),
            "batch_size": batch_size,
            "order": order.spec,
            "crop_seconds": [shortest, longest],
            "min_seconds": min_seconds,
            "speed_perturbation": self._crops.speed_perturbation.fingerprint(),
            "augmentations": [augmentation.fingerprint() for augmentation in augmentations],
            "sample_rate": sample_rate,
            "channel": channel,
            "seed": seed,
        }

    @property
    def num_speakers(self) -> int:
        """The speakers of the training manifest."""
        return len(self.manifest.speakers)

    @property
    def num_classes(self) -> int:
        """How many classes the labels of the batches tell apart; nobody else says how many a head
        must have."""
        return self._crops.num_classes

    @property
    def steps_per_epoch(self) -> int:
        return self._sampler.steps_per_epoch

    def setup(self, run_dir: Path | None, *, resumed: bool) -> None:
        self._bad_audio.begin(run_dir, resumed=resumed)

    def pop_findings(self) -> list[Any]:
        return self._bad_audio.take_collected()

    def add_findings(self, findings: list[Any]) -> None:
        self._bad_audio.add(BadRecording(*each) for each in findings)

    def counts(self) -> Mapping[str, int]:
        return {"bad recordings": len(self._bad_audio)} if len(self._bad_audio) else {}

    def train_batches(self, epoch: int, start: int) -> Iterator[SpeakerBatch]:
        samples = load_in_order(
            lambda task: self._crops.usable_sample(epoch, *task),
            self._tasks(epoch, start),
            workers=self.workers,
            prefetch=self.prefetch * self._sampler.part_size,
            timeout=self.worker_timeout,
            describe=lambda task: self.manifest[task[0] % len(self.manifest)].path,
        )
        with closing(samples):
            while batch := self._next(samples):
                self._bad_audio.add(bad for sample in batch for bad in sample.bad)
                waveforms = np.stack([sample.waveform for sample in batch])
                yield SpeakerBatch(
                    waveforms, np.array([sample.label for sample in batch], dtype=np.int64)
                )

    def _next(self, samples: Iterator[Sample]) -> list[Sample]:
        """A batch's samples; none where the epoch is done."""
        try:
            return list(islice(samples, self._sampler.part_size))
        except BadUtterancesError as error:
            self._bad_audio.add(error.bad)  # which says more
            raise

    def _tasks(self, epoch: int, start: int) -> Iterator[tuple[int, int]]:
        """Draws, and how many samples are taken of each."""
        for number, draws in enumerate(self._sampler.batches(epoch, start), start):
            samples = self._crops.samples(epoch, number)
            for draw in draws:
                yield int(draw), samples

    def validation_batches(self) -> Iterator[EvaluationBatch] | None:
        return None if self.evaluation is None else self.evaluation.validation_batches()

    def state_keys(self) -> dict[str, Any]:
        return self._audio._asdict()

    def fingerprint(self) -> dict[str, Any]:
        return dict(self._fingerprint)

    def batch_size(self, batch: SpeakerBatch) -> int:
        return len(batch.waveforms)


def _trainable(train_manifest: StrPath, batch_size: int) -> Manifest:
    """The manifest, with two speakers and a batch in it at least."""
    manifest = read_manifest(train_manifest)
    manifest.require_speakers(2)
    if len(manifest) < batch_size:
        raise UsageError(
            f"{train_manifest}: {len(manifest)} utterances do not fill one batch of {batch_size}; "
            "make batch_size smaller"
        )
    return manifest


def _source(manifest: Manifest, shards: StrPath | None, sample_rate: int, channel: int) -> Source:
    """The manifest's utterances, where they are."""
    if shards is not None:
        return ShardSource(
            manifest=manifest, folder=shards, sample_rate=sample_rate, channel=channel
        )
    # looking for a million would take minutes; a moved data set shows in the first
    first = manifest[0].path
    if not os.path.isfile(first):
        refuse_missing([first], f"{manifest.path}: recordings that are not on disk")
    return Source(manifest=manifest, sample_rate=sample_rate, channel=channel)
