"""Augmentations with recordings: noise and reverberation."""

from __future__ import annotations

import os
from functools import lru_cache
from typing import Any

import numpy as np
import scipy.fft

from vprtrain.data.audio.reading import AudioError, audio_duration, fill, read_audio
from vprtrain.data.augmentation.base import Augmentation, ordered_pair
from vprtrain.data.manifest import Manifest, read_manifest
from vprtrain.errors import UsageError

_SPECTRA_KEPT = 64  # each takes 0.25 MB for 3 s at 16 kHz


class AdditiveNoise(Augmentation):
    """Adds noise, music or babble, all equally likely, at a signal-to-noise ratio of its class.

    A ratio compares mean powers over the waveform and is drawn uniformly in dB. Babble is the sum
    of several files of class ``speech`` at equal power. The default ratios are those of Tao et
    al.'s ECAPA-TDNN training. Only the needed part of a file is read, so files may have any length;
    a file that is too short is repeated.

    Args:
        manifest: lines of ``path<TAB>class[<TAB>seconds]``; the classes are ``noise``, ``music``
            and ``speech``, or some of them.
        noise_snr: dB, lowest and highest.
        music_snr: dB, lowest and highest, of one piece of music.
        babble_snr: dB, lowest and highest, of all voices together.
        babble_voices: the fewest and the most voices in babble.
        probability: of adding anything.

    Raises:
        UsageError: the manifest cannot be used, or a number is out of range.
    """

    def __init__(
        self,
        *,
        manifest: str,
        noise_snr: tuple[float, float] = (0.0, 15.0),
        music_snr: tuple[float, float] = (5.0, 15.0),
        babble_snr: tuple[float, float] = (13.0, 20.0),
        babble_voices: tuple[int, int] = (3, 8),
        probability: float = 0.6,
    ) -> None:
        super().__init__(probability=probability)
        self.manifest = _existing(self, manifest, prepared_by="--musan FOLDER")
        snr = {"noise": noise_snr, "music": music_snr, "speech": babble_snr}
        unknown = set(self.manifest.speakers) - snr.keys()
        if unknown:
            raise UsageError(
                f"{manifest}: unknown classes {sorted(unknown)}; expected some of {sorted(snr)}"
            )
        self._snr = [
            ordered_pair(self, f"the ratio of {name}", snr[name]) for name in self.manifest.speakers
        ]
        self._files = [
            np.flatnonzero(self.manifest.labels == label) for label in range(len(self._snr))
        ]
        self.babble_voices = babble_voices
        if not 1 <= babble_voices[0] <= babble_voices[1]:
            raise UsageError(
                f"AdditiveNoise: babble_voices is {babble_voices}; "
                "expected (fewest, most), 1 or more"
            )

    def apply(self, waveform: np.ndarray, rng: np.random.Generator, sample_rate: int) -> np.ndarray:
        kind = rng.integers(len(self._files))
        is_babble = self.manifest.speakers[kind] == "speech"
        count = rng.integers(*self.babble_voices, endpoint=True) if is_babble else 1
        files = rng.choice(self._files[kind], size=count)
        ratio = rng.uniform(*self._snr[kind])
        noise = np.zeros_like(waveform)
        for index in files:
            noise += _at_unit_power(self._slice(index, rng, len(waveform), sample_rate))
        # Digital silence has no signal-to-noise ratio: the noise is then added at zero power.
        level = _power(waveform) / (_power(noise) or 1.0)
        return waveform + noise * np.float32(np.sqrt(level * 10 ** (-ratio / 10)))

    def _slice(
        self, index: int, rng: np.random.Generator, samples: int, sample_rate: int
    ) -> np.ndarray:
        recording, needed = self.manifest[index], samples / sample_rate
        seconds = (
            audio_duration(recording.path) if recording.duration is None else recording.duration
        )
        start = rng.uniform(0.0, max(0.0, seconds - needed))
        part = read_audio(recording.path, sample_rate=sample_rate, start=start, duration=needed)
        return fill(part, samples)

    def _contents(self) -> dict[str, Any]:
        return {"manifest": self.manifest.sha256}


class Reverberation(Augmentation):
    """Convolves with the impulse response of a room, scaled to unit energy.

    The result keeps the waveform's length: the reverberation after its end is cut off. At most the
    waveform's length of a response is used, and only its first channel.

    Args:
        manifest: lines of ``path<TAB>class[<TAB>seconds]``; all files are equally likely.
        probability: of any reverberation.

    Raises:
        UsageError: the manifest cannot be used.
    """

    def __init__(self, *, manifest: str, probability: float = 0.3) -> None:
        super().__init__(probability=probability)
        self.manifest = _existing(self, manifest, prepared_by="--rirs FOLDER")
        self._spectrum = lru_cache(maxsize=_SPECTRA_KEPT)(self._read_spectrum)

    def __getstate__(self) -> dict[str, Any]:
        """Without the spectra: each worker process keeps its own."""
        return {name: value for name, value in vars(self).items() if name != "_spectrum"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._spectrum = lru_cache(maxsize=_SPECTRA_KEPT)(self._read_spectrum)

    def apply(self, waveform: np.ndarray, rng: np.random.Generator, sample_rate: int) -> np.ndarray:
        index = int(rng.integers(len(self.manifest)))
        size, spectrum = self._spectrum(index, len(waveform), sample_rate)
        return scipy.fft.irfft(scipy.fft.rfft(waveform, size) * spectrum, size)[: len(waveform)]

    def _read_spectrum(self, index: int, samples: int, sample_rate: int) -> tuple[int, np.ndarray]:
        """The transform size that holds the whole convolution, and the response's spectrum at this
        size."""
        path = self.manifest[index].path
        response = read_audio(path, sample_rate=sample_rate, duration=samples / sample_rate)
        energy = float(np.sum(np.square(response)))
        if energy == 0:
            raise AudioError(f"{path}: silent; expected a room's impulse response")
        size = scipy.fft.next_fast_len(samples + len(response) - 1, real=True)
        return size, scipy.fft.rfft(response / np.float32(np.sqrt(energy)), size)

    def _contents(self) -> dict[str, Any]:
        return {"manifest": self.manifest.sha256}


def _existing(augmentation: Augmentation, path: str, *, prepared_by: str) -> Manifest:
    name = type(augmentation).__name__
    if not os.path.exists(path):
        raise UsageError(
            f"{name}: {path} does not exist; make it with vprtrain prepare {prepared_by}, or train "
            f"without {name}: leave it out of data.augmentations (--data.augmentations=[] for none)"
        )
    manifest = read_manifest(path)
    # Checking all files may take minutes on a network drive; the first one shows a moved folder.
    first = manifest[0].path
    if not os.path.isfile(first):
        raise UsageError(
            f"{path}: its first line names {first}, which does not exist; "
            "prepare the data set again"
        )
    return manifest


def _power(waveform: np.ndarray) -> float:
    return float(np.dot(waveform, waveform)) / len(waveform)


def _at_unit_power(waveform: np.ndarray) -> np.ndarray:
    power = _power(waveform)
    return waveform if power == 0 else waveform / np.float32(np.sqrt(power))
