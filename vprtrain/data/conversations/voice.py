"""What one speaker of a conversation has to say."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from vprtrain.data.audio.reading import AudioError, read_audio
from vprtrain.data.vad.energy import EnergyDetector
from vprtrain.data.vad.level import normalise_level
from vprtrain.lists import Span

log = logging.getLogger(__name__)

_PADDING = 0.03  # seconds of an utterance around its speech
_SHORTEST_PART = 0.3  # seconds
_BREATH = (0.1, 0.4)  # seconds between two utterances in a turn
_FADE = 0.01  # seconds
_LONGEST_READ = 60.0  # seconds of an utterance


class Speech(NamedTuple):
    """A waveform, and where speech is in it."""

    waveform: np.ndarray
    """float32 ``[samples]``."""
    spans: list[Span]

    def cut(self, start: float, end: float, sample_rate: int) -> Speech:
        """The part from ``start`` to ``end`` seconds, faded in and out."""
        part = self.waveform[round(start * sample_rate) : round(end * sample_rate)].copy()
        ramp = np.linspace(0, 1, min(round(_FADE * sample_rate), len(part)), dtype=np.float32)
        part[: len(ramp)] *= ramp
        part[len(part) - len(ramp) :] *= ramp[::-1]
        inside = [
            Span(max(span.start, start) - start, min(span.end, end) - start)
            for span in self.spans
            if span.start < end and span.end > start
        ]
        return Speech(part, inside)


class Voice:
    """The utterances of one speaker, from which turns are made.

    Utterances follow each other in a random order, all of them before any is repeated. A part of an
    utterance that is longer than what is missing begins at a random place.

    Args:
        paths: of the utterances.
        sample_rate: Hz.
        rng: the source of all randomness.
    """

    def __init__(self, paths: Sequence[str], sample_rate: int, rng: np.random.Generator) -> None:
        self._paths = paths
        self._rate = sample_rate
        self._rng = rng
        self._known: dict[str, Speech | None] = {}
        self._waiting: list[str] = []

    def turn(self, seconds: float) -> Speech:
        """Speech of about this duration, never longer.

        Raises:
            AudioError: no utterance can be used.
        """
        parts: list[np.ndarray] = []
        spans: list[Span] = []
        missing = seconds
        while missing >= _SHORTEST_PART or not parts:
            speech = self._next()
            duration = len(speech.waveform) / self._rate
            start = self._rng.uniform(0, max(0.0, duration - missing))
            part = speech.cut(start, min(duration, start + missing), self._rate)
            said = seconds - missing
            spans += [Span(said + span.start, said + span.end) for span in part.spans]
            breath = round(self._rng.uniform(*_BREATH) * self._rate)
            parts += [part.waveform, np.zeros(breath, np.float32)]
            missing -= (len(part.waveform) + breath) / self._rate
        return Speech(np.concatenate(parts[:-1]), spans)

    def _next(self) -> Speech:
        for _ in range(2 * len(self._paths)):
            if not self._waiting:
                self._waiting = [str(path) for path in self._rng.permutation(self._paths)]
            path = self._waiting.pop()
            if path not in self._known:
                self._known[path] = self._read(path)
            speech = self._known[path]
            if speech is not None:
                return speech
        raise AudioError(
            f"{self._paths[0]}: neither it nor any other utterance of its speaker holds speech"
        )

    def _read(self, path: str) -> Speech | None:
        """An utterance at a common level, from the beginning to the end of its speech."""
        try:
            waveform = read_audio(path, sample_rate=self._rate, duration=_LONGEST_READ)
        except AudioError as error:
            log.warning("%s; the conversation goes on without it", error)
            return None
        found = EnergyDetector(padding=_PADDING)(waveform, self._rate)
        if not found:
            return None
        whole = Speech(normalise_level(waveform, self._rate), [Span(*each) for each in found])
        return whole.cut(found[0][0], found[-1][1], self._rate)
