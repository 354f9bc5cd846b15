"""Voice activity from the energy of frames. It needs nothing but NumPy."""

from __future__ import annotations

import numpy as np

from vprtrain.data.vad.detector import Segment, find_segments

_FRAME, _STEP = 0.025, 0.010
_LOWEST_LEVEL = -100.0  # dBFS; digital silence counts as this
_TOP_SECONDS = 0.3
_FLOOR_PERCENTILE = 10
_ABOVE_FLOOR, _BELOW_TOP = 6.0, 35.0
_LEAST_RANGE = 9.0
_MIN_RUN, _PADDING = 0.08, 0.1


class EnergyDetector:
    """Speech is what is loud enough: it cannot tell speech from other sounds.

    The level of a frame of 25 ms, every 10 ms, is the variance of its samples in dBFS, so a
    constant offset does not count. The noise floor is the 10th percentile of the levels. The top
    level is the one that the loudest 0.3 s reach. A frame is active at or above the larger of floor
    + 6 dB and top - 35 dB. Where the top is less than 9 dB above the floor, the recording has no
    pauses, and every frame is active. Runs of active frames shorter than 80 ms (clicks) are
    dropped; the others are extended by 0.1 s on both sides.
    """

    def __call__(self, waveform: np.ndarray, sample_rate: int, /) -> list[Segment]:
        levels = frame_levels(waveform, sample_rate)
        if not len(levels):
            return []
        loudest = min(round(_TOP_SECONDS / _STEP), len(levels))
        top = float(np.partition(levels, -loudest)[-loudest])
        floor = float(np.percentile(levels, _FLOOR_PERCENTILE))
        limit = max(floor + _ABOVE_FLOOR, top - _BELOW_TOP)
        return find_segments(
            levels >= (limit if top - floor >= _LEAST_RANGE else -np.inf),
            step=_STEP,
            duration=len(waveform) / sample_rate,
            min_run=_MIN_RUN,
            padding=_PADDING,
        )


def frame_levels(waveform: np.ndarray, sample_rate: int) -> np.ndarray:
    """The variance of every whole frame in dBFS: float32 ``[frames]``."""
    length, step = round(_FRAME * sample_rate), round(_STEP * sample_rate)
    if len(waveform) < length:
        return np.zeros(0, np.float32)
    frames = np.lib.stride_tricks.sliding_window_view(waveform, length)[::step]
    variance = np.einsum("ij,ij->i", frames, frames) / length - frames.mean(axis=1) ** 2
    return 10 * np.log10(np.maximum(variance, np.float32(10 ** (_LOWEST_LEVEL / 10))))
