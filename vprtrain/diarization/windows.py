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
from vprtrain.scoring.cosine import unit_vectors

Embed: TypeAlias = Callable[[Sequence[np.ndarray]], np.ndarray]
"""Embeddings ``[waveforms, dimension]`` of waveforms ``[samples]``"""

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

    def __len__(self) -> int:
        return len(self.times)


@dataclass(frozen=True, kw_only=True)
class WindowEmbedder:
    """Cuts the speech of a recording into windows, and embeds them.

    A segment of speech that is shorter than a window is one window. The model gets it repeated to
    the length of a window, as 3D-Speaker does. The last window of a longer segment ends with it.
    No window has a pause in it, but pauses of up to 0.3 s count as speech.
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

    def embed_blocks(self, blocks: Iterable[np.ndarray]) -> EmbeddedWindows:
        """The windows of a recording that comes in blocks of samples, float32 ``[samples]``.

        A minute is dealt with by itself and forgotten. Samples beyond 1 are scaled down by the peak
        of their minute.
        """
        speech: list[SpeechSegment] = []
        times: list[SpeechSegment] = []
        embeddings: list[np.ndarray] = []
        start = 0.0
        for block in _gathered(blocks, round(_MINUTE * self.sample_rate)):
            found = self.segments(block) if np.std(block, dtype=np.float64) >= SILENCE else []
            windows = [each for segment in found for each in self.cut(segment)]
            embeddings += self._embedded(block, windows)
            speech += [(start + first, start + end) for first, end in found]
            times += [(start + first, start + end) for first, end in windows]
            start += len(block) / self.sample_rate
        rows = np.concatenate(embeddings) if embeddings else np.zeros((0, 1), np.float32)
        return EmbeddedWindows(
            speech=joined_segments(speech, tolerance=_PAUSE),
            times=np.array(times).reshape(-1, 2),
            embeddings=rows,
        )

    def cut(self, segment: SpeechSegment) -> list[SpeechSegment]:
        """The windows of a segment with speech: start and end in seconds."""
        start, end = segment
        steps = max(0, int(np.ceil((end - start - self.window) / self.hop - 1e-6)))
        starts = [start + step * self.hop for step in range(steps)] + [
            max(start, end - self.window)
        ]
        return [(each, min(each + self.window, end)) for each in starts]

    def _embedded(self, block: np.ndarray, windows: list[SpeechSegment]) -> Iterator[np.ndarray]:
        samples = round(self.window * self.sample_rate)
        batch = max(1, int(_BATCH_SECONDS / self.window))
        remaining = iter(windows)
        while chosen := list(islice(remaining, batch)):
            waveforms = [
                fill(
                    self.prepared(
                        block[round(start * self.sample_rate) : round(end * self.sample_rate)]
                    ),
                    samples,
                )[:samples]
                for start, end in chosen
            ]
            units = unit_vectors(self.embed(waveforms), chosen)
            yield units.astype(np.float32)


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
