"""How loud the frames of a waveform are. None of these depends on a constant offset."""

from __future__ import annotations

import numpy as np

FRAME, STEP = 0.025, 0.010
"""Seconds of a frame, and from the start of a frame to the start of the next"""
LOWEST_LEVEL = -100.0
"""dBFS; digital silence counts as this."""

_TOP_SECONDS = 0.3
_NORMAL_LEVEL = -20.0


def frame_levels(waveform: np.ndarray, sample_rate: int) -> np.ndarray:
    """The variance of every whole frame in dBFS: float64 ``[frames]``."""
    length, step = round(FRAME * sample_rate), round(STEP * sample_rate)
    if len(waveform) < length:
        return np.zeros(0)
    frames = np.lib.stride_tricks.sliding_window_view(waveform, length)[::step]
    # In float64, because a large offset leaves too few bits of float32 for the variance.
    squares = np.einsum("ij,ij->i", frames, frames, dtype=np.float64) / length
    variance = squares - frames.mean(axis=1, dtype=np.float64) ** 2
    levels: np.ndarray = 10 * np.log10(np.maximum(variance, 10 ** (LOWEST_LEVEL / 10)))
    return levels


def top_level(levels: np.ndarray) -> float:
    """The level that the loudest 0.3 s reach, in dBFS."""
    if not len(levels):
        return LOWEST_LEVEL
    loudest = min(round(_TOP_SECONDS / STEP), len(levels))
    return float(np.partition(levels, -loudest)[-loudest])


def level_percentile(levels: np.ndarray, percent: float) -> float:
    """The level below which this share of the levels lies, interpolated.

    ``numpy.percentile`` gives the same, but imports NumPy's masked arrays when it is first called,
    which takes as long as reading a recording.
    """
    place = percent / 100 * (len(levels) - 1)
    return float(np.interp(place, np.arange(len(levels)), np.sort(levels)))


def level_variation(levels: np.ndarray) -> float:
    """Decibels from the 25th to the 90th percentile; 0 without levels."""
    if not len(levels):
        return 0.0
    return level_percentile(levels, 90) - level_percentile(levels, 25)


def normalise_level(waveform: np.ndarray, sample_rate: int) -> np.ndarray:
    """The waveform at a top level of -20 dBFS, or lower where its peak would exceed 1."""
    peak = float(np.abs(waveform).max(initial=0))
    if peak == 0:
        return waveform
    decibels = _NORMAL_LEVEL - top_level(frame_levels(waveform, sample_rate))
    scaled: np.ndarray = waveform * np.float32(min(10 ** (decibels / 20), 1 / peak))
    return scaled
