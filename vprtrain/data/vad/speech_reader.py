"""Reading a recording for a model, with a look at how much speech is in it."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from vprtrain.data.audio.files import InMemory
from vprtrain.data.audio.reading import AudioError, read_audio
from vprtrain.data.audio.speech import Audio, as_recording, channel_count, read_speech
from vprtrain.data.audio.track import Channel, Track, require_channel
from vprtrain.data.vad.detector import (
    Segment,
    VoiceActivityDetector,
    keep_speech,
    speech_seconds,
)
from vprtrain.data.vad.energy import EnergyDetector
from vprtrain.data.vad.level import (
    LOWEST_LEVEL,
    frame_levels,
    level_variation,
    normalise_level,
    top_level,
)
from vprtrain.files import StrPath

log = logging.getLogger(__name__)

QUIET = -50.0
"""Top level in dBFS. A gain of -20 dB takes a CAM++ embedding to a cosine of 0.98 with itself, and
-40 dB to 0.91, because many filter-bank energies then lie below the features' floor."""
STEADY = 2.0
"""Decibels from the 25th to the 90th percentile of the levels. Tones, sweeps and hiss have up to
0.6, steady noises 1.3 to 3, 2,306 recordings of real speech at least 5.5."""

_LOUDER = 6.0
_MOST_CHANNELS = 8
_BY_ENERGY = EnergyDetector()
_Recording: TypeAlias = StrPath | InMemory | Track


@dataclass(frozen=True, kw_only=True)
class Speech:
    """What a model embeds of a recording, and what was measured in it."""

    waveform: np.ndarray
    """float32 ``[samples]`` in [-1, 1]"""
    seconds: float
    """Of what was read of the recording"""
    speech_seconds: float
    """Net"""
    level: float
    """The top level of the speech in dBFS"""
    doubts: str
    """What is doubtful, as one line; empty if nothing is"""


@dataclass(frozen=True, kw_only=True)
class SpeechReader:
    """Reads recordings, and refuses those with too little speech.

    Raises:
        UsageError: there can be no such channel.
    """

    sample_rate: int
    """Hz"""
    min_samples: int
    """The shortest waveform that the model takes"""
    max_seconds: float
    """Only this much from the beginning of a recording is read."""
    channel: Channel = 0
    level_norm: bool = False
    """Scale every recording to the same level."""
    detector: VoiceActivityDetector | None = None
    """With a detector, what it does not take for speech is left out. Without one the waveform stays
    whole, and its speech is measured by energy."""

    def __post_init__(self) -> None:
        require_channel(self.channel)

    def read(
        self, audio: Audio, *, min_speech: float, advised: float = 0.0, name: str = "the audio"
    ) -> Speech:
        """The speech of a recording.

        What is doubtful is also logged as a warning: less speech than advised, a low level, a level
        that hardly varies, and then a louder channel.

        Args:
            min_speech: net seconds of speech; less is refused.
            advised: net seconds of speech; less is doubtful.
            name: the name in messages, unless ``audio`` is a path.

        Raises:
            AudioError: as :func:`vprtrain.data.audio.read_speech`, or there is too little speech.
        """
        recording = as_recording(audio, name)
        waveform = read_speech(
            recording,
            sample_rate=self.sample_rate,
            min_samples=max(round(min_speech * self.sample_rate), self.min_samples),
            max_seconds=self.max_seconds,
            channel=self.channel,
        )
        seconds = len(waveform) / self.sample_rate
        speech = keep_speech(waveform, self.sample_rate, self.segments(waveform))
        net = len(speech) / self.sample_rate
        if len(speech) < max(round(min_speech * self.sample_rate), self.min_samples):
            hint = self.louder_channel(recording, self._top(waveform))
            raise AudioError(
                f"{recording}: {net:.2f} s of speech in its {seconds:.2f} s; expected at least "
                f"{min_speech:g} s (--min_speech){hint}"
            )
        levels = frame_levels(speech, self.sample_rate)
        doubts = "; ".join(self._doubts(net, levels, advised))
        if doubts:
            doubts += self.louder_channel(recording, self._top(waveform))
            log.warning("%s: %s", recording, doubts)
        return Speech(
            waveform=self.prepared(waveform if self.detector is None else speech),
            seconds=seconds,
            speech_seconds=net,
            level=top_level(levels),
            doubts=doubts,
        )

    def segments(self, waveform: np.ndarray) -> list[Segment]:
        """The parts of a waveform ``[samples]`` with speech."""
        return (self.detector or _BY_ENERGY)(waveform, self.sample_rate)

    def prepared(self, waveform: np.ndarray) -> np.ndarray:
        """The waveform at the level that the model gets it."""
        return normalise_level(waveform, self.sample_rate) if self.level_norm else waveform

    def _doubts(self, seconds: float, levels: np.ndarray, advised: float) -> Iterator[str]:
        if seconds < advised:
            yield f"only {seconds:.2f} s of speech; {advised:g} s are better"
        top = top_level(levels)
        if top < QUIET and not self.level_norm:
            yield f"quiet, at {top:.0f} dBFS, which changes scores (--level_norm)"
        variation = level_variation(levels)
        if variation < STEADY and self.detector is None:
            yield (
                f"its level varies by {variation:.1f} dB, as that of a tone or of noise does and "
                "not of speech (--vad)"
            )

    def louder_channel(self, recording: _Recording, level: float = LOWEST_LEVEL) -> str:
        """A hint at the loudest of the other channels, if it is clearly louder than ``level``, in
        dBFS, and has speech; else nothing."""
        best, hint = level + _LOUDER, ""
        channels = range(min(channel_count(recording), _MOST_CHANNELS))
        for channel in (each for each in channels if each != self.channel):
            try:
                other = read_audio(
                    recording,
                    sample_rate=self.sample_rate,
                    duration=self.max_seconds,
                    channel=channel,
                )
            except AudioError:  # it is no better than the chosen one
                continue
            net = speech_seconds(self.segments(other))
            if self._top(other) >= best and net * self.sample_rate >= self.min_samples:
                best = self._top(other)
                hint = f"; channel {channel} is louder, at {best:.0f} dBFS: try --channel {channel}"
        return hint

    def _top(self, waveform: np.ndarray) -> float:
        return top_level(frame_levels(waveform, self.sample_rate))
