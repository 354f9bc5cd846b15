"""Voices that an ear of NumPy tells apart: a conversation needs no network then."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace

import numpy as np

from vprtrain.scoring.backend import COSINE

RATE = 16000
_BANDS = 16


def tonal_voice(speaker: int, seconds: float, *, take: int = 0) -> np.ndarray:
    """A tone with a tremolo, float32 at 16 kHz; speakers, from 0 to 7, have their own pitch."""
    rng = np.random.default_rng([speaker, take])
    time = np.arange(round(seconds * RATE)) / RATE
    tone = np.sin(2 * np.pi * (300 + 900 * speaker) * time + rng.uniform(0, 6))
    tremolo = 0.8 + 0.2 * np.sin(2 * np.pi * rng.uniform(3, 5) * time)
    return (0.3 * tone * tremolo + 0.002 * rng.standard_normal(len(time))).astype(np.float32)


def tonal_conversation(turns: Sequence[tuple[int, float]], *, pause: float = 0.5) -> np.ndarray:
    """Turns of ``(speaker, seconds)``, each after a pause; another pause ends it."""
    silence = np.random.default_rng(0).standard_normal(round(pause * RATE)).astype(np.float32)
    parts = [silence * np.float32(1e-5)]
    for take, (speaker, seconds) in enumerate(turns):
        parts += [tonal_voice(speaker, seconds, take=take), parts[0]]
    return np.concatenate(parts)


class TonalExtractor:
    """The energies in bands: the embedding of a voice that is a tone."""

    state = SimpleNamespace(threshold=None, backend=COSINE)
    sample_rate = RATE
    min_samples = 400
    embedding_dim = _BANDS
    digest = "tonal"
    runtime = "numpy"
    threads = 1

    def embed(self, waveforms: Sequence[np.ndarray]) -> np.ndarray:
        spectra = [np.abs(np.fft.rfft(waveform)) ** 2 for waveform in waveforms]
        rows = [[band.sum() for band in np.array_split(each, _BANDS)] for each in spectra]
        return np.sqrt(np.array(rows, dtype=np.float32))
