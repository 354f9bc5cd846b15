"""Training samples: a random crop of an utterance, augmented, as a function of the seed, the epoch
and the draw."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple
from zlib import crc32

import numpy as np

from vprtrain.data.audio.reading import AudioError, fill
from vprtrain.data.augmentation import Augmentation, SpeedPerturbation
from vprtrain.data.bad_audio import BadRecording, BadUtterancesError
from vprtrain.data.reading import MIN_SECONDS
from vprtrain.data.sampler import Purpose, keyed_rng
from vprtrain.data.source import Source
from vprtrain.errors import RunError, VprTrainError, require_at_least

_ATTEMPTS = 8
"""Crops that are tried before an utterance counts as silent"""


class Sample(NamedTuple):
    """What one draw of an epoch gives."""

    waveform: np.ndarray
    """float32 ``[samples]`` in [-1, 1]"""
    label: int
    """The class index"""
    bad: tuple[BadRecording, ...] = ()
    """Recordings that could not be used: utterances that this sample replaces, and noise files or
    room responses whose augmentation was skipped. The training thread reports them."""


class Draw(NamedTuple):
    """Which sample to make: the arguments of :meth:`TrainingCrops.sample`."""

    epoch: int
    """From 0."""
    draw: int
    """See :class:`vprtrain.data.SamplingOrder`."""
    samples: int
    """The length of the waveform."""


class TrainingCrops:
    """Random crops of utterances, augmented.

    :meth:`sample` takes its random numbers from generators with keys of their own. The result
    depends neither on the calling thread, nor on when it is called, nor on earlier calls. The crop,
    the speed and each augmentation have separate keys (an augmentation's is made of its class
    name), so adding, removing or changing one augmentation leaves the draws of the others as they
    are.

    Args:
        source: the utterances.
        crop_seconds: the shortest and the longest crop; each batch has one length.
        seed: of the lengths, crops, speeds and augmentations.
        min_seconds: a shorter utterance counts as bad.
        speed_perturbation: ``None`` keeps the speed.
        augmentations: applied to the crop in this order.
        max_bad: up to this many bad utterances in a row are replaced by the next one.

    Raises:
        UsageError: a number is out of range.
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
        shortest, longest = crop_seconds
        require_at_least("crop_seconds", shortest, MIN_SECONDS)
        require_at_least("the longer crop_seconds", longest, shortest)
        require_at_least("min_seconds", min_seconds, 0)
        require_at_least("seed", seed, 0)
        self.source = source
        self.crop_seconds = (shortest, longest)
        self.seed = seed
        self.min_seconds = min_seconds
        self.max_bad = max_bad
        self.speed_perturbation = speed_perturbation or SpeedPerturbation(factors=(1.0,))
        self._augmentations = list(zip(_keys(augmentations), augmentations, strict=True))

    @property
    def num_classes(self) -> int:
        """The number of speakers, times the number of speeds that count as new speakers."""
        return self.speed_perturbation.num_classes(len(self.source.manifest.speakers))

    def fingerprint(self) -> dict[str, Any]:
        """JSON values that the samples depend on."""
        reading = self.source.reading
        return {
            "train_manifest": self.source.manifest.sha256,
            "crop_seconds": list(self.crop_seconds),
            "min_seconds": self.min_seconds,
            "speed_perturbation": self.speed_perturbation.fingerprint(),
            "augmentations": [each.fingerprint() for _, each in self._augmentations],
            "sample_rate": reading.sample_rate,
            "channel": reading.channel,
            "seed": self.seed,
        }

    def samples(self, epoch: int, batch: int) -> int:
        """The length of all waveforms of a batch, in samples.

        It is drawn from ``crop_seconds`` in steps of 0.1 s, so that a device does not meet a new
        shape in every batch.
        """
        low, high = self.crop_seconds
        steps = keyed_rng(self.seed, Purpose.LENGTH, epoch, batch).integers(
            int((high - low) * 10 + 1e-6), endpoint=True
        )
        return round((low + int(steps) / 10) * self.source.reading.sample_rate)

    def usable_sample(self, first: Draw) -> Sample:
        """:meth:`sample` of a draw, or of the first later draw whose utterance can be used.

        Raises:
            BadUtterancesError: more than ``max_bad`` utterances in a row cannot be used.
            RunError: as :meth:`sample`.
        """
        bad: list[BadRecording] = []
        while len(bad) <= self.max_bad:
            draw = first.draw + len(bad)
            try:
                sample = self.sample(first.epoch, draw, first.samples)
            except AudioError as error:
                bad.append(self._bad_utterance(draw, error))
            else:
                return sample._replace(bad=(*bad, *sample.bad))
        raise BadUtterancesError(bad)

    def _bad_utterance(self, draw: int, error: AudioError) -> BadRecording:
        index = draw % len(self.source.manifest)
        reason = str(error).removeprefix(f"{self.source.locate(index)}: ")
        return BadRecording(self.source.manifest[index].path, reason, is_utterance=True)

    def sample(self, epoch: int, draw: int, samples: int) -> Sample:
        """A waveform of ``samples`` samples from one utterance, and its class.

        Args:
            epoch: from 0.
            draw: see :class:`vprtrain.data.SamplingOrder`.
            samples: the length of the waveform.

        Raises:
            AudioError: the utterance cannot be read, is shorter than ``min_seconds``, or its crop
                is silent.
            RunError: anything else fails; the message names the file.
        """
        manifest = self.source.manifest
        index = draw % len(manifest)
        speed = self.speed_perturbation.draw(keyed_rng(self.seed, Purpose.SPEED, epoch, draw))
        factor = self.speed_perturbation.factors[speed]
        try:
            crop = self._crop(epoch, draw, samples * factor / self.source.reading.sample_rate)
            waveform = fill(self.speed_perturbation.apply(crop, speed)[:samples], samples)
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

    def _crop(self, epoch: int, draw: int, seconds: float) -> np.ndarray:
        """A random part of an utterance, ``seconds`` long; the whole utterance if it is shorter."""
        sample_rate = self.source.reading.sample_rate
        index = draw % len(self.source.manifest)
        room = max(0.0, self.source.seconds(index) - seconds)
        for attempt in range(_ATTEMPTS if room else 1):
            key = (epoch, draw, attempt) if attempt else (epoch, draw)
            start = keyed_rng(self.seed, Purpose.SAMPLE, *key).uniform(0.0, room)
            crop = self.source.read(index, start, seconds)
            if not _is_silent(crop):
                break
        if len(crop) < round(min(self.min_seconds, seconds) * sample_rate):
            raise AudioError(
                f"{self.source.locate(index)}: {len(crop) / sample_rate:.2f} s from {start:.2f} s "
                f"on; expected at least min_seconds, {self.min_seconds} s"
            )
        if _is_silent(crop):
            raise AudioError(
                f"{self.source.locate(index)}: silent from {start:.2f} s on for {seconds:.2f} s"
            )
        return crop

    def _augment(
        self, waveform: np.ndarray, epoch: int, draw: int
    ) -> tuple[np.ndarray, tuple[BadRecording, ...]]:
        """The waveform after all augmentations, at its old length, and the files that could not be
        used."""
        samples = len(waveform)
        bad: list[BadRecording] = []
        for key, augmentation in self._augmentations:
            rng = keyed_rng(self.seed, Purpose.AUGMENTATION, epoch, draw, *key)
            try:
                augmented = augmentation(waveform, rng, self.source.reading.sample_rate)
                waveform = fill(augmented, samples)
            except AudioError as error:
                path, _, reason = str(error).partition(": ")
                bad.append(BadRecording(path, reason, is_utterance=False))
        return waveform, tuple(bad)


def _is_silent(crop: np.ndarray) -> bool:
    """Whether all samples are equal."""
    # This cheap comparison answers almost always.
    if not len(crop) or crop[0] != crop[len(crop) // 2]:
        return False
    return bool(crop.min() == crop.max())


def _keys(augmentations: Sequence[Augmentation]) -> list[tuple[int, int]]:
    """A key for each: the checksum of its class name, and the number of earlier ones of its
    class."""
    names = [type(augmentation).__name__ for augmentation in augmentations]
    return [(crc32(name.encode()), names[:place].count(name)) for place, name in enumerate(names)]
