"""Recognising who speaks, continuously, in a stream of samples."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from vprtrain.data.audio.speech import SILENCE
from vprtrain.data.vad.detector import Segment, keep_speech, speech_seconds
from vprtrain.data.vad.level import frame_levels, level_variation
from vprtrain.data.vad.speech_reader import STEADY, SpeechReader
from vprtrain.diarization.online import OnlineClustering
from vprtrain.errors import require_number, require_sample_rate
from vprtrain.inference.chunks import StreamResampler, waveform_of
from vprtrain.inference.matching import Matcher, Voice
from vprtrain.inference.session import SessionVoices
from vprtrain.scoring.cosine import unit_vectors
from vprtrain.voiceprints.search import NO_SCORE

if TYPE_CHECKING:  # importing the module imports Paddle
    from vprtrain.extractors.extractor import Extractor

LEAST_HOP = 0.1
"""Seconds"""

_NOW = 0.5
"""Seconds: who was heard last before them is not speaking now."""


@dataclass(frozen=True, kw_only=True)
class Decision:
    """Who speaks at one moment of a stream.

    A user speaks if ``user`` is one; someone unknown if only ``score`` is there; else nobody. In a
    stream that diarizes, ``speaker`` says which unknown voice it is.
    """

    start: float
    """Seconds from the beginning of the stream to that of the window"""
    end: float
    """Seconds from the beginning of the stream to the end of the window, the moment itself"""
    speech: float
    """Net seconds of speech in the window"""
    user: str | None
    """The user, whose score is the threshold or above"""
    score: float | None
    """That of the nearest voiceprint; ``None`` if nobody speaks"""
    threshold: float
    speaker: str | None = None
    """``speaker_1``, ``speaker_2`` and so on: the number of a voice that was no user's when it
    appeared. The voice keeps it when it comes back, and when it is enrolled and ``user`` is there
    too. ``None`` for other users, and for a voice that is not told apart (yet)."""

    def as_json(self, *, diarize: bool) -> dict[str, Any]:
        """The values by their names, the speaker only if the stream diarizes."""
        values = asdict(self)
        return values if diarize else {key: values[key] for key in values if key != "speaker"}


class SpeakerStream:
    """Decides at every hop who speaks, from a window of the newest samples.

    Samples come in chunks of any length, which changes no decision. A window without enough speech,
    or without any in its newest half second, has no score. Else its speech is embedded. The
    embedding that is compared is an exponential moving average: ``smoothing`` times the average
    before, and the rest the new embedding, both of length 1. The average starts anew after a pause,
    and where the new embedding's score with it is below the threshold: then another person speaks.

    With ``clustering``, the unknown voices are told apart and numbered, as
    :class:`vprtrain.diarization.OnlineClustering` says. A window is then also given to a user whom
    its voice matches as a whole, though the window alone does not.

    Time and memory of a hop depend on the window only, and on the most voices that are told apart.
    One thread uses a stream; :meth:`vprtrain.Predictor.stream` makes it.

    Args:
        extractor: the model.
        reader: finds the speech in a window and prepares it for the model.
        matcher: compares with the users; changes of the database are seen at the next hop.
        threshold: a user is recognised at this score or above.
        min_speech: net seconds of speech that a window must have.
        sample_rate: of the chunks, in Hz.
        window: seconds, from ``min_speech`` to the reader's ``max_seconds``.
        hop: seconds from a decision to the next, from 0.1 to ``window``.
        smoothing: the share of earlier windows, from 0 to below 1.
        clustering: ``None`` leaves unknown voices without numbers, and then a database is needed.

    Raises:
        UsageError: a value is out of its range, or there is no database.
    """

    def __init__(
        self,
        *,
        extractor: Extractor,
        reader: SpeechReader,
        matcher: Matcher,
        threshold: float,
        min_speech: float,
        sample_rate: int,
        window: float,
        hop: float,
        smoothing: float,
        clustering: OnlineClustering | None = None,
    ) -> None:
        if clustering is None:
            matcher.require_database()
        require_sample_rate("sample_rate", sample_rate)
        require_number("hop", hop, least=LEAST_HOP)
        least = max(min_speech, extractor.min_samples / extractor.sample_rate, hop)
        require_number("window", window, least=least, most=reader.max_seconds)
        require_number("smoothing", smoothing, least=0, below=1)
        self._extractor, self._reader, self._matcher = extractor, reader, matcher
        self._threshold, self._smoothing = matcher.checked_threshold(threshold), smoothing
        self._rate = extractor.sample_rate
        self._min_samples = max(round(min_speech * self._rate), extractor.min_samples)
        self._resampler = StreamResampler(sample_rate, self._rate)
        self._longest = round(window * self._rate)
        self._window = np.zeros(0, np.float32)
        self._hop = np.zeros(round(hop * self._rate), np.float32)
        self._in_hop = 0
        self._heard = 0
        self._average: np.ndarray | None = None
        self._voices = (
            None
            if clustering is None
            else SessionVoices(clustering, matcher, threshold=self._threshold)
        )

    def feed(self, samples: np.ndarray) -> list[Decision]:
        """The decisions that a chunk completes; none if it completes no hop.

        Args:
            samples: ``[samples]``, int16, or floating-point in [-1, 1].

        Raises:
            AudioError: the samples have another form, or are not finite.
            RunError: the database cannot be read.
        """
        return list(self._decisions(self._resampler.feed(waveform_of(samples))))

    def finish(self) -> list[Decision]:
        """The decisions about the rest of the stream. A chunk after it begins another stream."""
        found = list(self._decisions(self._resampler.finish()))
        if self._in_hop:
            found.append(self._decide())
        self._window, self._average, self._heard = self._window[:0], None, 0
        if self._voices is not None:
            self._voices.forget()
        return found

    def _decisions(self, samples: np.ndarray) -> Iterator[Decision]:
        while len(samples):
            part = samples[: len(self._hop) - self._in_hop]
            samples = samples[len(part) :]
            self._hop[self._in_hop : self._in_hop + len(part)] = part
            self._in_hop += len(part)
            if self._in_hop == len(self._hop):
                yield self._decide()

    def _decide(self) -> Decision:
        joined = np.concatenate([self._window, self._hop[: self._in_hop]])
        self._window = joined[-self._longest :]
        self._heard += self._in_hop
        self._in_hop = 0
        segments = self._segments()
        speech = keep_speech(self._window, self._rate, segments)
        user, score, speaker = None, None, None
        if self._speaks_now(segments) and len(speech) >= self._min_samples:
            whole = self._window if self._reader.detector is None else speech
            prepared = self._reader.prepared(whole)
            user, score, speaker = self._who(prepared, speech_seconds(segments))
        else:
            self._average = None
        return Decision(
            start=(self._heard - len(self._window)) / self._rate,
            end=self._heard / self._rate,
            speech=speech_seconds(segments),
            user=user,
            score=score,
            threshold=self._threshold,
            speaker=speaker,
        )

    def _segments(self) -> list[Segment]:
        if np.std(self._window, dtype=np.float64) < SILENCE:
            return []
        segments = self._reader.segments(self._window)
        if self._reader.detector is None:  # energy takes a steady noise for speech
            speech = keep_speech(self._window, self._rate, segments)
            if level_variation(frame_levels(speech, self._rate)) < STEADY:
                return []
        return segments

    def _speaks_now(self, segments: list[Segment]) -> bool:
        now = max(_NOW, len(self._hop) / self._rate)
        return bool(segments) and segments[-1][1] > len(self._window) / self._rate - now

    def _who(self, waveform: np.ndarray, speech: float) -> tuple[str | None, float, str | None]:
        (unit,) = unit_vectors(self._extractor.embed([waveform]), ["the window"])
        seconds = len(waveform) / self._rate
        self._average = self._smoothed(unit, seconds)
        user, score = None, NO_SCORE
        if self._matcher.has_database:
            averaged = Voice(self._average, seconds)
            user, score = self._matcher.nearest(averaged, threshold=self._threshold)
        if self._voices is None:
            return user, score, None
        return self._voices.named(unit, user, score, end=self._heard / self._rate, speech=speech)

    def _smoothed(self, unit: np.ndarray, seconds: float) -> np.ndarray:
        average = self._average
        if average is None or not self._is_of_the_average(unit, average, seconds):
            return unit
        mixed = self._smoothing * average + (1 - self._smoothing) * unit
        (mean,) = unit_vectors(mixed[np.newaxis], ["the window"])
        return mean

    def _is_of_the_average(self, unit: np.ndarray, average: np.ndarray, seconds: float) -> bool:
        names = ("the window", "the windows before")
        score = self._matcher.score(Voice(unit, seconds), Voice(average), names)
        return score >= self._threshold
