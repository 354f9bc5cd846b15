"""Training samples: a random part of an utterance, as a function of the seed, the epoch and the utterance."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from vprtrain.data.audio import audio_duration, read_audio
from vprtrain.data.manifest import Manifest
from vprtrain.data.sampler import Purpose, keyed_rng
from vprtrain.errors import RunError, VprTrainError

MIN_SECONDS = 0.5
"""The shortest waveform that a network is given."""


class Sample(NamedTuple):
    """What is made of one utterance for one epoch."""

    waveform: np.ndarray
    """float32 ``[samples]``"""
    label: int


class TrainingCrops:
    """Equally long waveforms, cut out of the utterances of a manifest at random.

    ``sample(epoch, index)`` draws from a generator of its own key, so it does not matter who calls it, when,
    or for which utterances before.
    """

    def __init__(self, *, manifest: Manifest, crop_seconds: float, sample_rate: int, seed: int) -> None:
        self.manifest = manifest
        self.crop_seconds = crop_seconds
        self.sample_rate = sample_rate
        self.seed = seed

    @property
    def samples(self) -> int:
        """The length of every waveform."""
        return round(self.crop_seconds * self.sample_rate)

    def sample(self, epoch: int, index: int) -> Sample:
        """The waveform and label of one utterance. Raises :class:`RunError` naming its file."""
        utterance = self.manifest[index]
        rng = keyed_rng(self.seed, Purpose.SAMPLE, epoch, index)
        try:
            duration = audio_duration(utterance.path) if utterance.duration is None else utterance.duration
            start = rng.uniform(0.0, max(0.0, duration - self.crop_seconds))
            waveform = read_audio(utterance.path, sample_rate=self.sample_rate, start=start, duration=self.crop_seconds)
            return Sample(fill(waveform, self.samples), int(self.manifest.labels[index]))
        except VprTrainError:
            raise  # names the file already
        except Exception as error:
            raise RunError(f"{utterance.path}: cannot be made a training sample: {error!r}") from error


def fill(waveform: np.ndarray, samples: int) -> np.ndarray:
    """A waveform shorter than ``samples`` is repeated from its beginning until it has them; others stay."""
    return waveform if len(waveform) >= samples else np.resize(waveform, samples)
