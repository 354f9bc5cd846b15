"""Recognising who speaks, continuously, in a stream of samples."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import soxr

from vprtrain.data.audio.reading import AudioError
from vprtrain.data.audio.speech import SILENCE
from vprtrain.data.vad.detector import Segment, keep_speech, speech_seconds
from vprtrain.data.vad.level import frame_levels, level_variation
from vprtrain.data.vad.speech_reader import STEADY, SpeechReader
from vprtrain.errors import require_number, require_sample_rate, shown
from vprtrain.inference.matching import Matcher, Voice
from vprtrain.scoring.cosine import unit_vectors

if TYPE_CHECKING:  # importing the module imports Paddle
    from vprtrain.extractors.extractor import Extractor

LEAST_HOP = 0.1
"""Seconds"""

_BLOCKS_A_SECOND = 50
_NOW = 0.5
"""Seconds: who was heard last before them is not speaking now."""


@dataclass(frozen=True, kw_only=True)
class Decision:
    """Who speaks at one moment of a stream.

    A user speaks if ``user`` is one; someone unknown if only ``score`` is there; else nobody.
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


class SpeakerStream:
    """Decides at every hop who speaks, from a window of the newest samples.

    Samples come in chunks of any length, which changes no decision. A window without enough speech,
    or without any in its newest half second, has no score. Else its speech is embedded. The
    embedding that is compared is an exponential moving average: ``smoothing`` times the average
    before, and the rest the new embedding, both of length 1. The average starts anew after a pause,
    and where the new embedding's score with it is below the threshold: then another person speaks.

    Time and memory of a hop depend on the window only. One thread uses a stream;
    :meth:`vprtrain.Predictor.stream` makes it.

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
    ) -> None:
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
        self._resampler = _Resampler(sample_rate, self._rate)
        self._longest = round(window * self._rate)
        self._window = np.zeros(0, np.float32)
        self._hop = np.zeros(round(hop * self._rate), np.float32)
        self._in_hop = 0
        self._heard = 0
        self._average: np.ndarray | None = None

    def feed(self, samples: np.ndarray) -> list[Decision]:
        """The decisions that a chunk completes; none if it completes no hop.

        Args:
            samples: ``[samples]``, int16, or floating-point in [-1, 1].

        Raises:
            AudioError: the samples have another form, or are not finite.
            RunError: the database cannot be read.
        """
        return list(self._decisions(self._resampler.feed(_waveform(samples))))

    def finish(self) -> list[Decision]:
        """The decisions about the rest of the stream. A chunk after it begins another stream."""
        found = list(self._decisions(self._resampler.finish()))
        if self._in_hop:
            found.append(self._decide())
        self._window, self._average, self._heard = self._window[:0], None, 0
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
        user, score = None, None
        if self._speaks_now(segments) and len(speech) >= self._min_samples:
            whole = self._window if self._reader.detector is None else speech
            user, score = self._nearest(self._reader.prepared(whole))
        else:
            self._average = None
        return Decision(
            start=(self._heard - len(self._window)) / self._rate,
            end=self._heard / self._rate,
            speech=speech_seconds(segments),
            user=user,
            score=score,
            threshold=self._threshold,
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

    def _nearest(self, waveform: np.ndarray) -> tuple[str | None, float]:
        seconds = len(waveform) / self._rate
        (unit,) = unit_vectors(self._extractor.embed([waveform]), ["the window"])
        average = self._average
        if average is not None and self._is_of_the_average(unit, average, seconds):
            mixed = self._smoothing * average + (1 - self._smoothing) * unit
            (unit,) = unit_vectors(mixed[np.newaxis], ["the window"])
        self._average = unit
        return self._matcher.nearest(Voice(unit, seconds), threshold=self._threshold)

    def _is_of_the_average(self, unit: np.ndarray, average: np.ndarray, seconds: float) -> bool:
        names = ("the window", "the windows before")
        score = self._matcher.score(Voice(unit, seconds), Voice(average), names)
        return score >= self._threshold


class _Resampler:
    """Resamples a stream in blocks of one length, so that the lengths of chunks do not matter."""

    def __init__(self, source: int, target: int) -> None:
        self._rates = (source, target)
        self._rest = np.zeros(0, np.float32)
        self._soxr = self._new()

    def _new(self) -> soxr.ResampleStream:
        return soxr.ResampleStream(*self._rates, 1, dtype="float32", quality="HQ")

    def feed(self, samples: np.ndarray) -> np.ndarray:
        """What the samples complete at the other rate."""
        if self._rates[0] == self._rates[1]:
            return samples
        samples = np.concatenate([self._rest, samples])
        block = max(1, self._rates[0] // _BLOCKS_A_SECOND)
        whole = len(samples) // block * block
        self._rest = samples[whole:]
        blocks = samples[:whole].reshape(-1, block)
        return np.concatenate(
            [self._rest[:0], *(self._soxr.resample_chunk(each) for each in blocks)]
        )

    def finish(self) -> np.ndarray:
        """The rest at the other rate."""
        if self._rates[0] == self._rates[1]:
            return self._rest
        rest = self._soxr.resample_chunk(self._rest, last=True)
        self._rest, self._soxr = self._rest[:0], self._new()
        return rest


def _waveform(samples: np.ndarray) -> np.ndarray:
    """float32 ``[samples]`` in [-1, 1].

    Raises:
        AudioError: the samples have another form, or are not finite.
    """
    kinds = ("int16", "float16", "float32", "float64")
    if not isinstance(samples, np.ndarray) or samples.ndim != 1 or samples.dtype.name not in kinds:
        raise AudioError(
            f"the stream: a chunk is {shown(samples)}; expected an array [samples] of one of "
            f"{', '.join(kinds)}"
        )
    if samples.dtype == np.int16:
        return samples * np.float32(2.0**-15)
    waveform = samples.astype(np.float32)
    if not np.isfinite(waveform).all():
        raise AudioError("the stream: some samples are not finite (NaN or infinity)")
    return waveform.clip(-1, 1)
