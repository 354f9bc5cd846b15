"""The DataModule of speaker verification: random crops of labelled utterances to train on, and the
whole utterances of a trial list to validate on."""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from vprtrain.data.audio import Channel
from vprtrain.data.augmentation import Augmentation, SpeedPerturbation
from vprtrain.data.bad_audio import BadAudio, BadRecording, BadUtterancesError
from vprtrain.data.dataset import Draw, Sample, TrainingCrops
from vprtrain.data.loader import WORKER_TIMEOUT
from vprtrain.data.manifest import Manifest, read_manifest
from vprtrain.data.rank_share import RankShare
from vprtrain.data.reading import MIN_SECONDS, Reading
from vprtrain.data.sampler import EpochSampler, SamplingOrder, ShuffledOrder
from vprtrain.data.shards import ShardSource
from vprtrain.data.source import Source
from vprtrain.data.whole_utterances import EvaluationBatch
from vprtrain.data.worker_processes import WorkerProcesses
from vprtrain.engine.module import DataModule
from vprtrain.errors import UsageError, require_at_least
from vprtrain.files import StrPath
from vprtrain.speaker.state import AudioFormat
from vprtrain.speaker.trials import TrialData, refuse_missing


class SpeakerBatch(NamedTuple):
    """A training batch."""

    waveforms: np.ndarray
    """float32 ``[batch, samples]`` in [-1, 1]"""
    labels: np.ndarray
    """int64 ``[batch]``, class indices"""


class SpeakerData(DataModule):
    """Training batches from a manifest, validation batches from a trial list.

    :meth:`from_files` makes one from paths and numbers.

    Args:
        crops: the training samples.
        sampler: the order of the utterances; its ``labels`` are those of the crops' manifest.
        bad_audio: takes note of the recordings that cannot be used.
        evaluation: what validation scores; ``None`` trains without validation.
        prefetch: training batches that are read ahead.
        worker_processes: each worker of the crops' reading is a process; otherwise a thread.
        synthetic: the voices are synthetic, and the checkpoints say so.

    Raises:
        UsageError: ``prefetch`` is below 1.
    """

    unit = "utterances"

    def __init__(
        self,
        *,
        crops: TrainingCrops,
        sampler: EpochSampler,
        bad_audio: BadAudio,
        evaluation: TrialData | None = None,
        prefetch: int = 4,
        worker_processes: bool = False,
        synthetic: bool = False,
    ) -> None:
        require_at_least("prefetch", prefetch, 1)
        self.manifest = crops.source.manifest
        self.reading = crops.source.reading
        self.evaluation = evaluation
        self.world_size = sampler.world_size
        self._crops = crops
        self._processes: WorkerProcesses[Draw, Sample] | None = None
        if worker_processes and self.reading.workers:
            self._processes = WorkerProcesses(
                crops.usable_sample, count=self.reading.workers, describe=self._path
            )
        self._sampler = sampler
        self._bad_audio = bad_audio
        self._prefetch = prefetch
        self._synthetic = synthetic
        self._fingerprint = {
            **crops.fingerprint(),
            **sampler.fingerprint(),
            **({} if evaluation is None else evaluation.fingerprint()),
        }

    @classmethod
    def from_files(
        cls,
        *,
        train_manifest: StrPath,
        shards: StrPath | None = None,
        trials: StrPath | Mapping[str, str] | None = None,
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
        channel: Channel = 0,
        workers: int = 2,
        worker_processes: bool = False,
        prefetch: int = 4,
        worker_timeout: float = WORKER_TIMEOUT,
        synthetic: bool = False,
        max_bad_share: float = 0.01,
        seed: int = 0,
        rank: int = 0,
        world_size: int = 1,
    ) -> SpeakerData:
        """Training and validation data from the files and numbers that a configuration names.

        Args:
            train_manifest: lines of ``path<TAB>speaker[<TAB>seconds]``.
            shards: the folder that ``prepare --shards`` filled; training utterances are read from
                it. The batches are the same as from files.
            trials: a trial list, or several by name (``{vox1_o: PATH, vox1_h: PATH}``), of which
                the first one chooses the best model. Without trials there is no validation.
            eval_manifest: lines of ``id<TAB>path[<TAB>seconds]``: the recordings that trials and
                enrolment name.
            enroll: lines of ``enrol-id id id ...``; without it every enrol id is a recording.
            enroll_list: ppvector's enrol list; ``trials`` is then ppvector's trials list.
            batch_size: utterances in a training batch, over all ranks.
            order: how the utterances of an epoch are drawn; by default each once.
            crop_seconds: the length of a training waveform; a shorter utterance is repeated. Two
                numbers are the shortest and the longest; each batch then has a length of its own.
            min_seconds: a shorter training utterance counts as bad.
            speed_perturbation: uses utterances also at other speeds; by default not.
            augmentations: applied to every training waveform, in this order.
            sample_rate: Hz; every recording is resampled to it.
            channel: the channel that is read of a recording with several, counted from 0; or
                ``"mix"`` for the mean of all.
            workers: threads that read; with 0 the training thread reads.
            worker_processes: training data is read by that many processes instead. They use
                several cores, which threads do not: worth it where a GPU waits for data. Each
                takes about 150 MB. The batches are the same.
            prefetch: training batches that are read ahead.
            worker_timeout: seconds that one utterance may take to load, or with
                ``worker_processes`` up to 8 together; after them the run ends. Not enforced with 0
                workers.
            synthetic: the voices are synthetic. The checkpoints say so, and commands that use them
                warn.
            max_bad_share: the run ends when a larger share of the training utterances is bad. A
                bad utterance is replaced by the next one, a bad noise file is skipped, and
                ``bad_audio.tsv`` in the run directory names both.
            seed: of the order, the crops and the augmentations.
            rank: the number of this rank, which reads its part of every batch.
            world_size: the number of ranks.

        Raises:
            UsageError: a number is out of range, a file cannot be used, or a recording is missing.
        """
        reading = Reading(
            sample_rate=sample_rate,
            channel=channel,
            workers=workers,
            worker_timeout=worker_timeout,
        )
        share = RankShare(rank, world_size)
        manifest = _training_manifest(train_manifest, batch_size)
        sampler = EpochSampler(
            labels=manifest.labels,
            batch_size=batch_size,
            seed=seed,
            order=order or ShuffledOrder(),
            share=share,
        )
        bad_audio = BadAudio(manifest=manifest, max_share=max_bad_share, collects=rank > 0)
        crops = TrainingCrops(
            source=_source(manifest, shards, reading),
            crop_seconds=_shortest_and_longest(crop_seconds),
            seed=seed,
            min_seconds=min_seconds,
            speed_perturbation=speed_perturbation,
            augmentations=augmentations,
            max_bad=bad_audio.allowed,
        )
        evaluation = None
        if trials is not None:
            evaluation = TrialData(
                trials=trials,
                eval_manifest=eval_manifest,
                enroll=enroll,
                enroll_list=enroll_list,
                reading=reading,
                share=share,
            )
        elif any(each is not None for each in (eval_manifest, enroll, enroll_list)):
            raise UsageError(
                f"eval_manifest {eval_manifest}, enroll {enroll}, enroll_list {enroll_list}, but "
                "no trials: expected trials too, or none of the four for no validation"
            )
        return cls(
            crops=crops,
            sampler=sampler,
            bad_audio=bad_audio,
            evaluation=evaluation,
            prefetch=prefetch,
            worker_processes=worker_processes,
            synthetic=synthetic,
        )

    @property
    def num_speakers(self) -> int:
        """The number of speakers in the training manifest."""
        return len(self.manifest.speakers)

    @property
    def num_classes(self) -> int:
        """The number of classes of the labels. The head is built with this number of classes."""
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
        samples = self._load(self._draws(epoch, start))
        with closing(samples):
            while batch := self._next(samples):
                self._bad_audio.add(bad for sample in batch for bad in sample.bad)
                waveforms = np.stack([sample.waveform for sample in batch])
                yield SpeakerBatch(
                    waveforms, np.array([sample.label for sample in batch], dtype=np.int64)
                )

    def _load(self, draws: Iterator[Draw]) -> Generator[Sample, None, None]:
        prefetch = self._prefetch * self._sampler.part_size
        if self._processes is not None:
            return self._processes.load_in_order(
                draws, prefetch=prefetch, timeout=self.reading.worker_timeout
            )
        return self.reading.load(
            self._crops.usable_sample, draws, prefetch=prefetch, describe=self._path
        )

    def _next(self, samples: Iterator[Sample]) -> list[Sample]:
        """The samples of the next batch; none at the end of the epoch."""
        try:
            return list(islice(samples, self._sampler.part_size))
        except BadUtterancesError as error:
            # Usually raises a RunError of its own, which counts and names them all.
            self._bad_audio.add(error.bad)
            raise

    def _draws(self, epoch: int, start: int) -> Iterator[Draw]:
        """Each draw of this rank."""
        for number, draws in enumerate(self._sampler.batches(epoch, start), start):
            samples = self._crops.samples(epoch, number)
            for draw in draws:
                yield Draw(epoch, int(draw), samples)

    def _path(self, draw: Draw) -> str:
        return self.manifest[draw.draw % len(self.manifest)].path

    def validation_batches(self) -> Iterator[EvaluationBatch] | None:
        return None if self.evaluation is None else self.evaluation.validation_batches()

    def state_keys(self) -> dict[str, Any]:
        audio = AudioFormat(self.reading.sample_rate, self.reading.channel)
        return {**audio._asdict(), **({"synthetic_voices": True} if self._synthetic else {})}

    def fingerprint(self) -> dict[str, Any]:
        return dict(self._fingerprint)

    def batch_size(self, batch: SpeakerBatch) -> int:
        return len(batch.waveforms)


def _training_manifest(path: StrPath, batch_size: int) -> Manifest:
    """A manifest with at least two speakers and one batch of utterances."""
    manifest = read_manifest(path)
    manifest.require_speakers(2)
    if len(manifest) < batch_size:
        raise UsageError(
            f"{path}: {len(manifest)} utterances do not fill one batch of {batch_size}; "
            "make batch_size smaller"
        )
    return manifest


def _source(manifest: Manifest, shards: StrPath | None, reading: Reading) -> Source:
    if shards is not None:
        return ShardSource(manifest=manifest, folder=shards, reading=reading)
    # A million files would take minutes to look for; the first one shows that a data set was moved.
    first = manifest[0].path
    if not os.path.isfile(first):
        refuse_missing([first], f"{manifest.path}: recordings that are not on disk")
    return Source(manifest=manifest, reading=reading)


def _shortest_and_longest(seconds: float | Sequence[float]) -> tuple[float, float]:
    if isinstance(seconds, Sequence):
        shortest, longest = seconds
        return shortest, longest
    return seconds, seconds
