"""Voice activity from the energy of frames. It needs nothing but NumPy."""

from __future__ import annotations

import numpy as np

from vprtrain.data.vad.detector import Segment, find_segments
from vprtrain.data.vad.level import STEP, frame_levels, level_percentile, top_level

_FLOOR_PERCENTILE = 10
_ABOVE_FLOOR, _BELOW_TOP = 6.0, 35.0
_LEAST_RANGE = 9.0
_SILENCE = -80.0
_MIN_RUN = 0.08


class EnergyDetector:
    """Speech is what is loud enough: it cannot tell speech from other sounds.

    The level of a frame of 25 ms, every 10 ms, is the variance of its samples in dBFS, so a
    constant offset does not count. The noise floor is the 10th percentile of the levels. The top
    level is the one that the loudest 0.3 s reach. A frame is active at or above the largest of
    floor + 6 dB, top - 35 dB and -80 dBFS. Where the top is less than 9 dB above the floor, the
    recording has no pauses, and the floor and the top do not count. Runs of active frames shorter
    than 80 ms (clicks) are dropped; the others are extended by ``padding`` on both sides.

    Args:
        padding: seconds.
    """

    def __init__(self, *, padding: float = 0.1) -> None:
        self.padding = padding

    def __call__(self, waveform: np.ndarray, sample_rate: int, /) -> list[Segment]:
        levels = frame_levels(waveform, sample_rate)
        if not len(levels):
            return []
        top, floor = top_level(levels), level_percentile(levels, _FLOOR_PERCENTILE)
        limit = _SILENCE
        if top - floor >= _LEAST_RANGE:
            limit = max(limit, floor + _ABOVE_FLOOR, top - _BELOW_TOP)
        return find_segments(
            levels >= limit,
            step=STEP,
            duration=len(waveform) / sample_rate,
            min_run=_MIN_RUN,
            padding=self.padding,
        )
