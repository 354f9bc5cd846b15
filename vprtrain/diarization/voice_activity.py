"""Where the speakers speak, by their own voices.

A detector of speech knows no voices: in noise it misses quiet speech, and takes other sounds for
speech. Once the voices of a recording are known, they are better evidence, as in target-speaker
voice activity detection (Medennikov et al., "Target-speaker voice activity detection: a novel
approach for multi-speaker diarization in a dinner party scenario", Interspeech 2020), which has a
network for it. Here it is the cosine of a window with the nearest voice. What it must be depends on
the noise and the model, so it is a share of the mean in the speech that was detected.
"""

from __future__ import annotations

import numpy as np

from vprtrain.diarization.resegmentation import STEP, Resegmentation, best_path
from vprtrain.diarization.windows import EmbeddedWindows

_SPEECH = 0.5
"""The share from which on a gap is speech"""
_NO_SPEECH = 0.35
"""The share below which detected speech is none"""
_SHORTEST = 0.3
"""Seconds in which either holds"""

Segments = list[tuple[float, float, int]]


def segments_by_voice(
    windows: EmbeddedWindows,
    frame_labels: list[np.ndarray],
    voices: np.ndarray,
    *,
    switch_cost: float,
) -> Segments:
    """Start, end and speaker of each stretch of speech, in order and without overlap.

    Args:
        windows: of the recording. Without its gaps the detector is believed.
        frame_labels: the speaker of each frame, for each segment of detected speech.
        voices: centroids ``[speakers, dimension]``, of length 1.
        switch_cost: of a change of the speaker in a gap.
    """
    decoding, gaps = Resegmentation(windows, switch_cost=switch_cost), windows.gaps
    if gaps is None:
        return decoding.segments(frame_labels)
    usual = float((windows.embeddings @ voices.T.astype(np.float32)).max(axis=1).mean())
    detected = []
    for labels, scores in zip(frame_labels, decoding.frame_scores(voices), strict=True):
        unlike = scores.max(axis=1) < _NO_SPEECH * usual
        detected.append(np.where(_long_runs(unlike), -1, labels))
    found = decoding.segments(detected)
    if len(gaps):
        found += _missed(gaps, voices, switch_cost=switch_cost, least=_SPEECH * usual)
    return _touching_joined(sorted(found))


def _missed(
    gaps: EmbeddedWindows, voices: np.ndarray, *, switch_cost: float, least: float
) -> Segments:
    """The stretches of the gaps in which the cosine with the nearest voice is ``least``."""
    decoding = Resegmentation(gaps, switch_cost=switch_cost)
    found = []
    for scores in decoding.frame_scores(voices):
        alike = scores.max(axis=1) >= least
        found.append(np.where(_long_runs(alike), best_path(scores, switch_cost), -1))
    return decoding.segments(found)


def _long_runs(frames: np.ndarray) -> np.ndarray:
    """The same frames, bool ``[frames]``, without the runs that are shorter than 0.3 s."""
    edges = np.flatnonzero(np.diff(frames, prepend=False, append=False)).reshape(-1, 2)
    kept = np.zeros(len(frames), bool)
    for first, end in edges.tolist():
        kept[first:end] = end - first >= round(_SHORTEST / STEP)
    return kept


def _touching_joined(segments: Segments) -> Segments:
    """The same segments; two of a speaker without a pause between them are one. None begins before
    the one before it ends, as the end of a gap may by rounding."""
    joined: Segments = []
    for start, end, speaker in segments:
        if joined and joined[-1][2] == speaker and start - joined[-1][1] < STEP / 2:
            start = joined.pop()[0]
        elif joined:
            start = max(start, joined[-1][1])
        joined.append((start, end, speaker))
    return joined
