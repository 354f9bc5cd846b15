"""Windows of a recording's speech, each with its embedding."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TypeAlias

import numpy as np

from vprtrain.data.audio.reading import fill
from vprtrain.data.audio.speech import SILENCE
from vprtrain.data.vad.detector import Segment as SpeechSegment
from vprtrain.data.vad.detector import joined_segments
from vprtrain.diarization.gaps import GAP_WINDOW, audible_gaps, samples_of
from vprtrain.scoring.cosine import unit_vectors

Embed: TypeAlias = Callable[[Sequence[np.ndarray]], np.ndarray]
"""Embeddings ``[waveforms, dimension]`` of waveforms ``[samples]``"""

ROUNDING = 1e-6
"""Seconds; the same moment, computed in two ways, differs by less."""
_BATCH_SECONDS = 48.0
_PAUSE = 0.3
"""Seconds; a shorter pause, or the border of two blocks, is part of the speech around it."""
_MINUTE = 60.0


@dataclass(frozen=True, kw_only=True)
class EmbeddedWindows:
    """The windows of a recording's speech, in order. Windows overlap."""

    speech: list[SpeechSegment]
    """The segments with speech: start and end in seconds"""
    times: np.ndarray
    """float64 ``[windows, 2]``: start and end in seconds; a window lies in one segment"""
    embeddings: np.ndarray
    """float32 ``[windows, dimension]``, of length 1"""
    gaps: EmbeddedWindows | None = None
    """The same of the gaps between the segments, in windows of 0.75 s whose middles lie in them;
    ``None`` if gaps were not looked at"""

    def __len__(self) -> int:
        return len(self.times)


@dataclass(frozen=True, kw_only=True)
class WindowEmbedder:
    """Cuts the speech of a recording into windows, and embeds them.

    A segment of speech that is shorter than a window is one window. The model gets it repeated to
    the length of a window, as 3D-Speaker does. The last window of a longer segment ends with it.
    No window has a pause in it, but pauses of up to 0.3 s count as speech.

    Noise hides speech from a detector. So gaps of half a second or more between segments are
    embedded as well, in short windows, where they are not quiet.
    """

    embed: Embed
    segments: Callable[[np.ndarray], list[SpeechSegment]]
    """The parts of a waveform with speech"""
    prepared: Callable[[np.ndarray], np.ndarray]
    """The waveform at the level that the model gets it"""
    sample_rate: int
    """Hz"""
    window: float = 1.5
    """Seconds"""
    hop: float = 0.75
    """Seconds from the start of a window to the start of the next, up to ``window``"""
    with_gaps: bool = True
    """Whether the gaps are embedded"""

    def embed_blocks(self, blocks: Iterable[np.ndarray]) -> EmbeddedWindows:
        """The windows of a recording that comes in blocks of samples, float32 ``[samples]``.

        A minute is dealt with by itself and forgotten. Samples beyond 1 are scaled down by the peak
        of their minute.
        """
        spoken, between = _Collected(), _Collected()
        start = 0.0
        for block in _gathered(blocks, round(_MINUTE * self.sample_rate)):
            found = self.segments(block) if np.std(block, dtype=np.float64) >= SILENCE else []
            seconds = len(block) / self.sample_rate
            # the last frame of a detector may end after the samples
            found = [(first, min(end, seconds)) for first, end in found if first < seconds]
            windows = [each for segment in found for each in self.cut(segment)]
            spoken.add(start, found, windows, self._embedded(block, windows, self.window))
            if self.with_gaps:
                speech = joined_segments(found, tolerance=_PAUSE)
                found_gaps = audible_gaps(block, self.sample_rate, speech)
                windows = [window for gap in found_gaps for window in gap]
                gaps = [(float(np.mean(gap[0])), float(np.mean(gap[-1]))) for gap in found_gaps]
                between.add(start, gaps, windows, self._embedded(block, windows, GAP_WINDOW))
            start += seconds
        return spoken.together(_PAUSE, between.together(ROUNDING) if self.with_gaps else None)

    def cut(self, segment: SpeechSegment) -> list[SpeechSegment]:
        """The windows of a segment with speech: start and end in seconds."""
        start, end = segment
        steps = max(0, int(np.ceil((end - start - self.window) / self.hop - 1e-6)))
        starts = [start + step * self.hop for step in range(steps)] + [
            max(start, end - self.window)
        ]
        return [(each, min(each + self.window, end)) for each in starts]

    def _embedded(
        self, block: np.ndarray, windows: list[SpeechSegment], seconds: float
    ) -> Iterator[np.ndarray]:
        """The embeddings of windows, in batches ``[windows, dimension]``; a shorter window is
        repeated to ``seconds``."""
        samples = round(seconds * self.sample_rate)
        batch = max(1, int(_BATCH_SECONDS / seconds))
        remaining = iter(windows)
        while chosen := list(islice(remaining, batch)):
            waveforms = [
                fill(self.prepared(samples_of(block, self.sample_rate, window)), samples)[:samples]
                for window in chosen
            ]
            units = unit_vectors(self.embed(waveforms), chosen)
            yield units.astype(np.float32)


class _Collected:
    """The segments of a recording with their windows, added block by block."""

    def __init__(self) -> None:
        self._segments: list[SpeechSegment] = []
        self._times: list[SpeechSegment] = []
        self._embeddings: list[np.ndarray] = []

    def add(
        self,
        start: float,
        segments: list[SpeechSegment],
        windows: list[SpeechSegment],
        embeddings: Iterable[np.ndarray],
    ) -> None:
        """Those of a block that begins at ``start`` seconds; their times are from there."""
        self._segments += [(start + first, start + end) for first, end in segments]
        self._times += [(start + first, start + end) for first, end in windows]
        self._embeddings += embeddings

    def together(self, tolerance: float, gaps: EmbeddedWindows | None = None) -> EmbeddedWindows:
        """All of them; segments with less than ``tolerance`` seconds between them are one."""
        rows = self._embeddings
        return EmbeddedWindows(
            speech=joined_segments(self._segments, tolerance=tolerance),
            times=np.array(self._times).reshape(-1, 2),
            embeddings=np.concatenate(rows) if rows else np.zeros((0, 1), np.float32),
            gaps=gaps,
        )


def _gathered(blocks: Iterable[np.ndarray], samples: int) -> Iterator[np.ndarray]:
    """The same samples in blocks of at least ``samples``; only the last one may be shorter."""
    parts: list[np.ndarray] = []
    for block in blocks:
        parts.append(block)
        if sum(map(len, parts)) >= samples:
            yield _scaled(np.concatenate(parts))
            parts = []
    if parts:
        yield _scaled(np.concatenate(parts))


def _scaled(block: np.ndarray) -> np.ndarray:
    peak = float(np.abs(block).max(initial=0.0))
    return block / np.float32(peak) if peak > 1 else block
