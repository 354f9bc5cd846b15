"""Sounds that are not speech, float32 at 16 kHz."""

from __future__ import annotations

import numpy as np
from scipy.signal import chirp

RATE = 16000


def hiss(seconds: float, decibels: float) -> np.ndarray:
    """White noise at a level in dBFS."""
    noise = np.random.default_rng(0).standard_normal(round(seconds * RATE))
    return (noise * 10 ** (decibels / 20)).astype(np.float32)


def _sweep() -> np.ndarray:
    return 0.3 * chirp(np.arange(3 * RATE) / RATE, 100, 3, 7000)


def _clicks() -> np.ndarray:
    clicks = np.zeros(3 * RATE)
    clicks[:: RATE // 4] = 0.9
    return clicks


def _step() -> np.ndarray:
    return np.repeat([0.0, 0.5], 3 * RATE // 2)


NOT_SPEECH: dict[str, np.ndarray] = {
    name: sound.astype(np.float32)
    for name, sound in {
        "a sweep": _sweep(),
        "a sweep and silence": np.concatenate([_sweep(), hiss(3.0, -60)]),
        "a tone": 0.3 * np.sin(2 * np.pi * 440 * np.arange(3 * RATE) / RATE),
        "hiss": hiss(3.0, -70),
        "loud hiss": hiss(3.0, -20),
        "clicks": _clicks(),
        "a step": _step(),
        "a step with dither": _step() + hiss(3.0, -92),
    }.items()
}
