"""The interface of voice activity detectors, and what is done with the segments that they find."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol, TypeAlias

import numpy as np

Segment: TypeAlias = tuple[float, float]
"""The start and the end of a part with speech, in seconds from the beginning"""


class VoiceActivityDetector(Protocol):
    """Finds the parts of a waveform that hold speech. A function of this form is one too.

    Several threads may call it at once.
    """

    def __call__(self, waveform: np.ndarray, sample_rate: int, /) -> list[Segment]:
        """The segments with speech, in order and without overlap; none if there is no speech.

        Args:
            waveform: float32 ``[samples]`` in [-1, 1].
            sample_rate: Hz.
        """


def speech_seconds(segments: list[Segment]) -> float:
    """The net duration of speech."""
    return sum(end - start for start, end in segments)


def keep_speech(waveform: np.ndarray, sample_rate: int, segments: list[Segment]) -> np.ndarray:
    """The samples of the segments, joined: ``[samples of speech]``."""
    places = np.round(np.array(segments).reshape(-1, 2) * sample_rate).astype(int)
    parts = [waveform[start:end] for start, end in places.clip(0, len(waveform))]
    return np.concatenate(parts) if parts else waveform[:0]


def find_segments(
    active: np.ndarray, *, step: float, duration: float, min_run: float, padding: float
) -> list[Segment]:
    """The segments of a detector that decides in steps.

    Runs of active steps shorter than ``min_run`` are dropped. The other runs are extended by
    ``padding`` on both sides (hangover), and joined where they then touch.

    Args:
        active: bool ``[steps]``.
        step: seconds from one step to the next.
        duration: of the waveform, in seconds; no segment ends later.
        min_run: seconds.
        padding: seconds.
    """
    edges = np.flatnonzero(np.diff(active.astype(np.int8), prepend=0, append=0))
    segments = []
    for first, end in edges.reshape(-1, 2).tolist():
        if end - first < round(min_run / step):
            continue
        segments.append((max(0.0, first * step - padding), min(duration, end * step + padding)))
    return joined_segments(segments)


def joined_segments(segments: Iterable[Segment], *, tolerance: float = 0.0) -> list[Segment]:
    """The same segments, joined where one begins before the last one ends.

    Args:
        segments: in order.
        tolerance: seconds of a gap that is none.
    """
    joined: list[Segment] = []
    for start, stop in segments:
        if joined and start <= joined[-1][1] + tolerance:
            start = joined.pop()[0]
        joined.append((start, stop))
    return joined
