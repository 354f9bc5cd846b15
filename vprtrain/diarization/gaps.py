"""The gaps between segments of speech, where a detector may have missed speech."""

from __future__ import annotations

import numpy as np

from vprtrain.data.audio.speech import SILENCE
from vprtrain.data.vad.detector import Segment as SpeechSegment
from vprtrain.data.vad.detector import keep_speech

GAP_WINDOW = 0.75
"""Seconds; a longer window holds mostly the speech around a gap."""
_HOP = 0.25
_SHORTEST = 0.5
"""Seconds; all windows of a shorter gap hold mostly the speech around it."""
_QUIET = 10 ** (-25 / 10)
"""The power of quiet samples, relative to that of speech: there is no missed speech."""


def audible_gaps(
    block: np.ndarray, sample_rate: int, speech: list[SpeechSegment]
) -> list[list[SpeechSegment]]:
    """The windows of each gap: start and end in seconds.

    The middles of the first and the last window are the ends of the gap, and at most 0.25 s lie
    between two middles. So a window may begin before the block, and end after it. A gap ends where
    it is quiet, 25 dB below the speech of the block.

    Args:
        block: float32 ``[samples]``.
        sample_rate: Hz.
        speech: the segments with speech, in order.
    """
    spoken = keep_speech(block, sample_rate, speech)
    power = float(np.var(spoken, dtype=np.float64)) if len(spoken) else 0.0
    least = max(SILENCE**2, _QUIET * power)
    edges = [0.0, *(edge for segment in speech for edge in segment), len(block) / sample_rate]
    found: list[list[SpeechSegment]] = []
    for start, end in zip(edges[::2], edges[1::2], strict=True):
        if end - start < _SHORTEST:
            continue
        middles = np.linspace(start, end, 1 + int(np.ceil((end - start) / _HOP - 1e-6)))
        windows = [(each - GAP_WINDOW / 2, each + GAP_WINDOW / 2) for each in middles.tolist()]
        parts = (samples_of(block, sample_rate, each) for each in windows)
        loud = np.array([np.var(part, dtype=np.float64) >= least for part in parts])
        runs = np.flatnonzero(np.diff(loud, prepend=False, append=False))
        for first, last in (runs.reshape(-1, 2) - [0, 1]).tolist():
            if middles[last] - middles[first] >= _SHORTEST:
                found.append(windows[first : last + 1])
    return found


def samples_of(block: np.ndarray, sample_rate: int, window: SpeechSegment) -> np.ndarray:
    """The samples of a window, as far as it lies in the block."""
    start, end = (max(0, round(each * sample_rate)) for each in window)
    return block[start:end]
