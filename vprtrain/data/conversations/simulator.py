"""Conversations, as functions of a seed and a number."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from vprtrain.data.augmentation import Augmentation
from vprtrain.data.conversations.style import ConversationStyle
from vprtrain.data.conversations.voice import Speech, Voice
from vprtrain.data.manifest import Manifest
from vprtrain.data.sampler import Purpose, keyed_rng
from vprtrain.errors import require_whole
from vprtrain.lists import Segment, Span

_JOINED = 0.3  # seconds: shorter pauses of a speaker count as speech, as in NIST's references
_TAIL = 0.5  # seconds of reverberation after a turn
_OWN_PAUSE = 0.2  # seconds between two turns of the same speaker
_NOISE_SECONDS = 20.0  # one noise after another
_EVENNESS = 5.0  # of the shares of the speakers: the parameter of a Dirichlet distribution
_PEAK = 0.95


class Conversation(NamedTuple):
    """A recording of several speakers."""

    waveform: np.ndarray
    """float32 ``[samples]`` in [-1, 1]."""
    segments: list[Segment]
    """Who speaks when, sorted by the start."""


class _Turn(NamedTuple):
    first: int
    """The first sample."""
    speaker: int
    speech: Speech


class ConversationSimulator:
    """Makes conversations of the speakers of a manifest.

    Speakers take turns with pauses, and sometimes begin before another has ended. Each speaker has
    a level, and, in a room, an impulse response. Where there is speech is what the energy detector
    finds in the single utterances; a speaker's pauses below 0.3 s count as speech. Every speaker
    takes a turn once before the order is random, if the time suffices.

    A conversation depends on the arguments here and its number, and on nothing else.

    Args:
        manifest: the utterances.
        seed: 0 or more.
        style: the rules of turn taking.
        room: reverberation, drawn once for each speaker of a conversation.
        noise: drawn again every 20 s.
        sample_rate: Hz.

    Raises:
        UsageError: the manifest has too few speakers.
    """

    def __init__(
        self,
        manifest: Manifest,
        *,
        seed: int = 0,
        style: ConversationStyle | None = None,
        room: Augmentation | None = None,
        noise: Augmentation | None = None,
        sample_rate: int = 16000,
    ) -> None:
        require_whole("seed", seed, 0)
        self.manifest = manifest
        self.seed = seed
        self.style = style or ConversationStyle()
        manifest.require_speakers(self.style.speakers[1])
        self.room = room
        self.noise = noise
        self.sample_rate = sample_rate

    def conversation(self, number: int) -> Conversation:
        """Conversation ``number``, from 0.

        Raises:
            AudioError: no utterance of a speaker can be used, or a noise cannot be read.
        """
        rng = self._rng(number, 0)
        speakers = int(rng.integers(*self.style.speakers, endpoint=True))
        labels = rng.choice(len(self.manifest.speakers), size=speakers, replace=False).tolist()
        turns = self._turns(rng, [self._voice(label, number) for label in labels])
        waveform = self._mixed(turns, rng.normal(0, self.style.gain_db, speakers), number)
        names = [self.manifest.speakers[label] for label in labels]
        return Conversation(waveform, self._segments(turns, names))

    def _rng(self, number: int, *position: int) -> np.random.Generator:
        return keyed_rng(self.seed, Purpose.CONVERSATION, number, *position)

    def _voice(self, label: int, number: int) -> Voice:
        places = np.flatnonzero(self.manifest.labels == label)
        paths = [self.manifest[place].path for place in places.tolist()]
        return Voice(paths, self.sample_rate, self._rng(number, 1, label))

    def _turns(self, rng: np.random.Generator, voices: Sequence[Voice]) -> list[_Turn]:
        """Turns until the time is over."""
        style, rate = self.style, self.sample_rate
        shares = rng.dirichlet([_EVENNESS] * len(voices))
        turns: list[_Turn] = []
        ends = np.zeros(len(voices))
        while True:
            speaker = _next_speaker(rng, turns, shares, style.go_on)
            seconds = style.draw_turn(rng)
            if turns and turns[-1].speaker != speaker:
                shorter = min(seconds, len(turns[-1].speech.waveform) / rate)
                gap = style.draw_gap(rng, longest_overlap=shorter / 2)
            else:
                gap = style.draw_pause(rng)
            start = float(max(ends.max() + gap, ends[speaker] + _OWN_PAUSE))
            if start + style.turn_seconds[0] > style.seconds:
                return turns
            speech = voices[speaker].turn(min(seconds, style.seconds - start))
            turns.append(_Turn(round(start * rate), speaker, speech))
            ends[speaker] = start + len(speech.waveform) / rate

    def _mixed(self, turns: Sequence[_Turn], gains: np.ndarray, number: int) -> np.ndarray:
        """The sum of all turns in their room, and noise: float32 ``[samples]``.

        Args:
            gains: of the speakers, in dB.
        """
        samples, tail = (
            round(seconds * self.sample_rate) for seconds in (self.style.seconds, _TAIL)
        )
        # All turns have one length in the room, so that it transforms a response only once.
        longest = max((len(turn.speech.waveform) for turn in turns), default=0) + tail
        mixed = np.zeros(samples + longest, np.float32)
        for turn in turns:
            waveform = np.zeros(longest, np.float32)
            waveform[: len(turn.speech.waveform)] = turn.speech.waveform
            if self.room is not None:
                waveform = self.room(waveform, self._rng(number, 2, turn.speaker), self.sample_rate)
            mixed[turn.first : turn.first + longest] += waveform * _factor(gains[turn.speaker])
        mixed = mixed[:samples]
        floor = self._rng(number, 3).standard_normal(samples, dtype=np.float32)
        mixed += floor * _factor(self.style.floor_db)
        if self.noise is not None:
            stretch = round(_NOISE_SECONDS * self.sample_rate)
            for place in range(0, samples, stretch):
                part = slice(place, place + stretch)
                rng = self._rng(number, 4, place // stretch)
                mixed[part] = self.noise(mixed[part], rng, self.sample_rate)
        peak = float(np.abs(mixed).max())
        return mixed * np.float32(_PEAK / peak) if peak > _PEAK else mixed

    def _segments(self, turns: Sequence[_Turn], names: Sequence[str]) -> list[Segment]:
        """Args: names: of the speakers."""
        segments = []
        for speaker, name in enumerate(names):
            spans = [
                Span(turn.first / self.sample_rate + start, turn.first / self.sample_rate + end)
                for turn in turns
                if turn.speaker == speaker
                for start, end in turn.speech.spans
            ]
            for start, end in _joined(spans):
                # The times of speech are not whole samples, as the end of the recording is.
                segments.append(Segment(start, min(end, self.style.seconds), name))
        return sorted(segments)


def _joined(spans: Sequence[Span]) -> list[Span]:
    """The same spans, joined over short pauses."""
    joined: list[Span] = []
    for span in spans:
        start = span.start
        if joined and start - joined[-1].end < _JOINED:
            start = joined.pop().start
        joined.append(Span(start, span.end))
    return joined


def _next_speaker(
    rng: np.random.Generator, turns: Sequence[_Turn], shares: np.ndarray, go_on: float
) -> int:
    """Each speaker once; then the last one again, or one of the others by their shares."""
    if len(turns) < len(shares):
        return len(turns)
    last = turns[-1].speaker
    if len(shares) == 1 or rng.random() < go_on:
        return last
    others = shares.copy()
    others[last] = 0
    return int(rng.choice(len(shares), p=others / others.sum()))


def _factor(decibels: float) -> np.float32:
    return np.float32(10 ** (decibels / 20))
