"""Speaker changes at a finer step than windows, from the scores of windows against speakers."""

from __future__ import annotations

import numpy as np

from vprtrain.diarization.windows import ROUNDING, EmbeddedWindows

STEP = 0.1
"""Seconds of a frame"""


class Resegmentation:
    """Gives each frame of speech to a speaker by Viterbi decoding.

    The score of a frame with a speaker is the cosine of the speaker's centroid with the windows
    around the frame, interpolated between their middles: where a change lies in a window, the
    scores of both speakers cross at the change. The best path has the largest sum of scores, less
    ``switch_cost`` for each change within a segment of speech.

    Args:
        windows: of the recording.
        switch_cost: the sum of cosines (of frames of 0.1 s) that a change must gain.
    """

    def __init__(self, windows: EmbeddedWindows, *, switch_cost: float) -> None:
        self._windows, self._switch_cost = windows, switch_cost
        middles = windows.times.mean(axis=1)
        starts = [start - ROUNDING for start, _ in windows.speech]
        self._first_windows = np.searchsorted(middles, starts)
        counts = [max(1, round((end - start) / STEP)) for start, end in windows.speech]
        self._edges = [
            np.linspace(start, end, count + 1)
            for (start, end), count in zip(windows.speech, counts, strict=True)
        ]
        self._middles = middles

    def frame_labels(self, speakers: np.ndarray) -> list[np.ndarray]:
        """The speaker of each frame, for each segment of speech; ``speakers`` as below."""
        return [best_path(scores, self._switch_cost) for scores in self.frame_scores(speakers)]

    def frame_scores(self, speakers: np.ndarray) -> list[np.ndarray]:
        """The cosine of each frame with each speaker, ``[frames, speakers]``, for each segment.

        Args:
            speakers: centroids ``[speakers, dimension]``, of length 1.
        """
        scores = self._windows.embeddings @ speakers.T.astype(np.float32)
        ends = [*self._first_windows[1:], len(self._middles)]
        found = []
        for edges, first, end in zip(self._edges, self._first_windows, ends, strict=True):
            frames = (edges[:-1] + edges[1:]) / 2
            of_windows = scores[first:end]
            of_frames = np.stack(
                [np.interp(frames, self._middles[first:end], each) for each in of_windows.T], axis=1
            )
            found.append(of_frames)
        return found

    def window_labels(self, frame_labels: list[np.ndarray]) -> np.ndarray:
        """The speaker at the middle of each window: ``[windows]``."""
        edges = np.concatenate([each[:-1] for each in self._edges])
        labels = np.concatenate(frame_labels)
        return labels[np.searchsorted(edges, self._middles, side="right") - 1]

    def segments(self, frame_labels: list[np.ndarray]) -> list[tuple[float, float, int]]:
        """Start, end and speaker of each run of frames with one speaker; frames with the label -1
        are nobody's."""
        found = []
        for edges, labels in zip(self._edges, frame_labels, strict=True):
            changes = np.flatnonzero(np.diff(labels)) + 1
            starts, ends = [0, *changes], [*changes, len(labels)]
            found += [
                (float(edges[first]), float(edges[last]), int(labels[first]))
                for first, last in zip(starts, ends, strict=True)
                if labels[first] >= 0
            ]
        return found


def best_path(scores: np.ndarray, switch_cost: float) -> np.ndarray:
    """The states with the largest sum of scores, less the cost of each change (Viterbi).

    Args:
        scores: ``[frames, states]``, at least one frame.

    Returns:
        int64 ``[frames]``.
    """
    came_from = np.empty(scores.shape, np.int64)
    states = np.arange(scores.shape[1])
    best = scores[0].astype(np.float64)
    for frame, gained in enumerate(scores[1:], 1):
        other = int(best.argmax())
        stays = best >= best[other] - switch_cost
        came_from[frame] = np.where(stays, states, other)
        best = np.where(stays, best, best[other] - switch_cost) + gained
    path = np.empty(len(scores), np.int64)
    path[-1] = int(best.argmax())
    for frame in range(len(scores) - 1, 0, -1):
        path[frame - 1] = came_from[frame, path[frame]]
    return path
