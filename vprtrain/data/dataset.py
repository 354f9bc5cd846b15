"""Training samples: a random part of an utterance, augmented, as a function of the seed, the epoch
and the draw."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple
from zlib import crc32

import numpy as np

from vprtrain.data.audio.reading import AudioError, fill
from vprtrain.data.augmentation import Augmentation, SpeedPerturbation
from vprtrain.data.bad_audio import BadRecording, BadUtterancesError
from vprtrain.data.sampler import Purpose, keyed_rng
from vprtrain.data.source import Source
from vprtrain.errors import RunError, VprTrainError

MIN_SECONDS = 0.5
"""The shortest waveform that a network is given."""

_ATTEMPTS = 8
"""At a part of an utterance with sound in it, before it counts as silent."""


class Sample(NamedTuple):
    """What is made of one utterance for one epoch."""

    waveform: np.ndarray
    """float32 ``[samples]`` in [-1, 1]"""
    label: int
    bad: tuple[BadRecording, ...] = ()
    """What could not be used: utterances in whose place this one stands, and recordings of noise or
    rooms, whose augmentations were left out. For the training thread to tell of"""


class TrainingCrops:
    """Waveforms cut out of utterances at random, and augmented.

    ``sample(epoch, draw, samples)`` takes random numbers from generators of its own keys, so it
    does not matter who calls it, when, or for which utterances before. The part, the speed and each
    augmentation have a key each, the augmentations' by class name: adding, leaving out or changing
    one leaves the draws of the others as they are.
    """

    def __init__(
        self,
        *,
        source: Source,
        crop_seconds: tuple[float, float],
        seed: int,
        min_seconds: float = MIN_SECONDS,
        speed_perturbation: SpeedPerturbation | None = None,
        augmentations: Sequence[Augmentation] = (),
        max_bad: int = 0,
    ) -> None:
        self.source = source
        self.crop_seconds = crop_seconds
        self.seed = seed
        self.min_seconds = min_seconds
        self.max_bad = max_bad
        self.speed_perturbation = speed_perturbation or SpeedPerturbation(factors=(1.0,))
        self._augmentations = list(zip(_keys(augmentations), augmentations, strict=True))

    @property
    def num_classes(self) -> int:
        """The speakers, times the speeds that make new speakers of them."""
        return self.speed_perturbation.num_classes(len(self.source.manifest.speakers))

    def samples(self, epoch: int, batch: int) -> int:
        """How long the waveforms of a batch are: all alike, and drawn from ``crop_seconds`` in
        steps of 0.1 s, so that a device does not meet a new shape in every batch."""
        low, high = self.crop_seconds
        steps = keyed_rng(self.seed, Purpose.LENGTH, epoch, batch).integers(
            int((high - low) * 10 + 1e-6), endpoint=True
        )
        return round((low + int(steps) / 10) * self.source.sample_rate)

    def usable_sample(self, epoch: int, draw: int, samples: int) -> Sample:
        """:meth:`sample` of ``draw``, or of the first draw behind it whose utterance can be used.

        Raises:
            BadUtterancesError: more than ``max_bad`` in a row cannot be used.
            RunError: as :meth:`sample`.
        """
        bad: list[BadRecording] = []
        while len(bad) <= self.max_bad:
            try:
                sample = self.sample(epoch, draw + len(bad), samples)
            except AudioError as error:
                bad.append(self._bad_utterance(draw + len(bad), error))
            else:
                return sample._replace(bad=(*bad, *sample.bad))
        raise BadUtterancesError(bad)

    def _bad_utterance(self, draw: int, error: AudioError) -> BadRecording:
        index = draw % len(self.source.manifest)
        reason = str(error).removeprefix(f"{self.source.locate(index)}: ")
        return BadRecording(self.source.manifest[index].path, reason, is_utterance=True)

    def sample(self, epoch: int, draw: int, samples: int) -> Sample:
        """A waveform of ``samples`` out of one utterance, and its class.

        ``draw`` is the utterance's index, plus the number of utterances as often as it was drawn
        before in the epoch.

        Raises:
            AudioError: the utterance cannot be read, is shorter than ``min_seconds``, or silent in
                this part.
            RunError: anything else that is wrong, with the file's name.
        """
        manifest = self.source.manifest
        index = draw % len(manifest)
        speed = self.speed_perturbation.draw(keyed_rng(self.seed, Purpose.SPEED, epoch, draw))
        try:
            part = self._part(
                epoch,
                draw,
                samples * self.speed_perturbation.factors[speed] / self.source.sample_rate,
            )
            waveform = fill(self.speed_perturbation.apply(part, speed)[:samples], samples)
            waveform, bad = self._augment(waveform, epoch, draw)
            peak = max(waveform.max(), -waveform.min())
        except VprTrainError:
            raise  # names the file already
        except Exception as error:
            raise RunError(
                f"{self.source.locate(index)}: cannot be made a training sample: {error!r}"
            ) from error
        label = self.speed_perturbation.label(
            int(manifest.labels[index]), speed, len(manifest.speakers)
        )
        return Sample(waveform / peak if peak > 1 else waveform, label, bad)

    def _part(self, epoch: int, draw: int, seconds: float) -> np.ndarray:
        """So many seconds of an utterance, at random; all of it where it is shorter."""
        index = draw % len(self.source.manifest)
        room = max(0.0, self.source.seconds(index) - seconds)
        for attempt in range(_ATTEMPTS if room else 1):
            key = (epoch, draw, attempt) if attempt else (epoch, draw)
            start = keyed_rng(self.seed, Purpose.SAMPLE, *key).uniform(0.0, room)
            part = self.source.read(index, start, seconds)
            if not _is_silent(part):
                break
        if len(part) < round(min(self.min_seconds, seconds) * self.source.sample_rate):
            raise AudioError(
                f"{self.source.locate(index)}: {len(part) / self.source.sample_rate:.2f} s from {start:.2f} s on; "
                f"expected at least min_seconds, {self.min_seconds} s"
            )
        if _is_silent(part):
            raise AudioError(
                f"{self.source.locate(index)}: silent from {start:.2f} s on for {seconds:.2f} s"
            )
        return part

    def _augment(
        self, waveform: np.ndarray, epoch: int, draw: int
    ) -> tuple[np.ndarray, tuple[BadRecording, ...]]:
        """The waveform after all augmentations, as long as before, and what was wrong with
        files."""
        samples = len(waveform)
        bad: list[BadRecording] = []
        for key, augmentation in self._augmentations:
            rng = keyed_rng(self.seed, Purpose.AUGMENTATION, epoch, draw, *key)
            try:
                waveform = fill(augmentation(waveform, rng, self.source.sample_rate), samples)
            except AudioError as error:
                path, _, reason = str(error).partition(": ")
                bad.append(BadRecording(path, reason, is_utterance=False))
        return waveform, tuple(bad)


def _is_silent(part: np.ndarray) -> bool:
    if not len(part) or part[0] != part[len(part) // 2]:  # cheap, and mostly enough
        return False
    return bool(part.min() == part.max())


def _keys(augmentations: Sequence[Augmentation]) -> list[tuple[int, int]]:
    """A class name's checksum, and how many of the class came before."""
    names = [type(augmentation).__name__ for augmentation in augmentations]
    return [(crc32(name.encode()), names[:place].count(name)) for place, name in enumerate(names)]
