"""What the service does with recordings. Many threads may call it."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vprtrain.data.audio.files import InMemory
from vprtrain.data.audio.isolated import IsolatedReader
from vprtrain.data.audio.track import Channel
from vprtrain.data.vad.speech_reader import Speech
from vprtrain.errors import UsageError
from vprtrain.extractors.extractor import Runtime
from vprtrain.files import StrPath
from vprtrain.inference.matching import Voice
from vprtrain.inference.predictor import Predictor
from vprtrain.runtime import set_environment
from vprtrain.serving.batching import BatchingExtractor
from vprtrain.serving.metrics import Metrics
from vprtrain.serving.schemas import Conversation, Turn
from vprtrain.serving.settings import Limits
from vprtrain.voiceprints.user import checked_name

_MEMORY = 1 << 30
"""Bytes that a decoding process may take in addition to its own"""
_SPREAD = 8.0
"""Most scores of back ends other than the cosine are no further from the threshold."""


@dataclass(frozen=True, kw_only=True)
class Embedded:
    """A recording's embedding, and what was measured in the recording."""

    voice: Voice
    """The embedding, and how much speech it is from"""
    speech: Speech
    warnings: list[str]
    """What is doubtful, one line each"""

    @property
    def embedding(self) -> np.ndarray:
        """float32 ``[embedding_dim]``"""
        return self.voice.embedding


class Recognizer:
    """A model, its voiceprints, and the processes that decode uploads.

    Args:
        checkpoint: as of :class:`vprtrain.Predictor`.
        voiceprints: the database's file.
        device: as of Predictor.
        threshold: ``None`` for the checkpoint's.
        limits: of a request.
        metrics: counts decoded seconds and batches.
        channel, vad, min_speech, level_norm, runtime: as of Predictor.

    Raises:
        UsageError, CheckpointError, RunError: as of Predictor.
    """

    def __init__(
        self,
        checkpoint: StrPath,
        voiceprints: StrPath,
        device: str | None = None,
        *,
        threshold: float | None = None,
        limits: Limits | None = None,
        metrics: Metrics | None = None,
        channel: Channel = 0,
        vad: str | None = None,
        min_speech: float = 0.5,
        level_norm: bool = False,
        runtime: Runtime = "auto",
    ) -> None:
        set_environment()  # before Paddle is imported, if it is
        from vprtrain.extractors.opening import open_extractor

        self.limits = limits or Limits()
        self.metrics = metrics or Metrics()
        self.min_speech = min_speech
        self._extractor = BatchingExtractor(
            open_extractor(Path(checkpoint), device, runtime=runtime, callers=self.limits.workers),
            threads=self.limits.workers,
            on_batch=self.metrics.batch_size.observe,
        )
        self.predictor = Predictor(
            self._extractor,
            voiceprints,
            max_seconds=self.limits.max_seconds,
            vad=vad,
            min_speech=min_speech,
            level_norm=level_norm,
        )
        self._channel: Channel = channel
        self.threshold: float | None = None
        if threshold is not None:
            self.threshold = self.predictor.matcher.checked_threshold(threshold)
        elif self.predictor.state.threshold is not None:
            self.threshold = self.predictor.threshold  # warns of another use of recordings
        self.reader = IsolatedReader(
            workers=self.limits.workers, seconds=self.limits.time_limit, memory=_MEMORY
        )

    def close(self) -> None:
        """End the processes and close the database, after the calls that are under way."""
        self.reader.close()
        self._extractor.close()
        self.predictor.close()

    def about(self) -> dict[str, Any]:
        """What a client may want to know of the model."""
        return {
            "model": str(self.predictor.state.model["class_path"]).rpartition(".")[2],
            "embedding_dim": self._extractor.embedding_dim,
            "sample_rate": self._extractor.sample_rate,
            "threshold": self.threshold,
            "backend": self.predictor.matcher.backend.name,
            "score_range": self._score_range(),
            "min_speech": self.min_speech,
            "max_seconds": self.limits.max_seconds,
            "max_diarize_seconds": self.limits.max_diarize_seconds,
            "max_bytes": self.limits.max_bytes,
            "synthetic_voices": bool(self.predictor.state.synthetic_voices),
        }

    def _score_range(self) -> tuple[float, float]:
        """The scores between which a page may draw: of cosines 0 to 1, of another back end around
        the threshold."""
        if self.predictor.matcher.backend.is_cosine:
            return 0.0, 1.0
        middle = self.threshold or 0.0
        return middle - _SPREAD, middle + _SPREAD

    def embed(
        self, content: bytes, *, name: str = "the audio", enrolment: bool = False
    ) -> Embedded:
        """Decode a recording in a process of its own, and embed its speech.

        Args:
            content: a file of any format.
            name: in messages.
            enrolment: less than 1 s of speech is doubtful.

        Raises:
            AudioError: the recording cannot be used.
        """
        rate = self._extractor.sample_rate
        waveform, cuts = self._decoded(content, name, self.limits.max_seconds)
        speech = self.predictor.read((waveform, rate), enrolment=enrolment, name=name)
        return Embedded(
            voice=Voice(self._extractor.embed([speech.waveform])[0], len(speech.waveform) / rate),
            speech=speech,
            warnings=[*cuts, *filter(None, speech.doubts.split("; "))],
        )

    def _decoded(
        self, content: bytes, name: str, max_seconds: float
    ) -> tuple[np.ndarray, list[str]]:
        """The samples, one more than are used if there are more, and a warning in that case."""
        rate = self._extractor.sample_rate
        waveform = self.reader.read(
            InMemory(name, content),
            sample_rate=rate,
            duration=max_seconds + 1 / rate,
            channel=self._channel,
        )
        self.metrics.audio_seconds.inc(len(waveform) / rate)
        is_cut = len(waveform) > round(max_seconds * rate)
        return waveform, [f"only the first {max_seconds:g} s are used"] if is_cut else []

    def diarize(
        self, content: bytes, *, num_speakers: int | None, max_speakers: int
    ) -> Conversation:
        """Who speaks when. Without a threshold nobody has a user's name.

        Raises:
            AudioError: the recording cannot be used.
            UsageError: there is too little speech for so many speakers.
        """
        rate, most = self._extractor.sample_rate, self.limits.max_diarize_seconds
        waveform, cuts = self._decoded(content, "the audio", most)
        waveform = waveform[: round(most * rate)]
        segments = self.predictor.diarize(
            (waveform, rate),
            num_speakers,
            max_speakers,
            threshold=math.inf if self.threshold is None else self.threshold,
        )
        return Conversation(
            segments=[Turn(**asdict(segment)) for segment in segments],
            duration=len(waveform) / rate,
            warnings=cuts,
        )

    def contrast(self, first: bytes, second: bytes) -> float:
        """The score of two recordings."""
        names = ("the first audio", "the second audio")
        one, other = (
            self.embed(content, name=name).voice
            for content, name in zip((first, second), names, strict=True)
        )
        return self.predictor.matcher.score(one, other, names)

    def identify(self, content: bytes, threshold: float) -> tuple[str | None, float]:
        """The user with the nearest voiceprint, ``None`` below the threshold, and its score."""
        return self.predictor.matcher.nearest(self.embed(content).voice, threshold=threshold)

    def verify(self, content: bytes, user: str) -> float:
        """The score of a recording with the voiceprint of the user whom the speaker claims to be.

        Raises:
            UsageError: there is no such user.
        """
        self.predictor.voiceprints.voiceprint(user)  # refuses before the work of the embedding
        voice = self.embed(content).voice
        return self.predictor.matcher.verify(voice, user)

    def enroll(
        self, contents: list[bytes], user: str, purpose: str = ""
    ) -> tuple[int, list[Embedded]]:
        """Enrol recordings of a user: all of them, or none after an error.

        Args:
            contents: files of any format.
            user: a new or known one.
            purpose: what the recordings may be used for, stored with each of them.

        Returns:
            The number of the user's recordings now, and what was embedded.
        """
        name = checked_name(user)
        alone = len(contents) == 1
        found = [
            self.embed(content, name="the audio" if alone else f"audio {number}", enrolment=True)
            for number, content in enumerate(contents, 1)
        ]
        embeddings = np.stack([each.embedding for each in found])
        return self.predictor.voiceprints.add(name, embeddings, purpose=purpose), found

    def threshold_of(self, asked: float | None) -> float:
        """The threshold of a request: its own, or that of the service.

        Raises:
            UsageError: neither is known, or its own is not in the scale of the scores.
        """
        if asked is not None:
            return self.predictor.matcher.checked_threshold(asked)
        found = self.threshold
        if found is None:
            raise UsageError(
                "the threshold of this model is unknown: give one (threshold=), or have the "
                "service started with a calibrated model (vprtrain calibrate) or --threshold"
            )
        return found
