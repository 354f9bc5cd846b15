"""The part of the Predictor that needs no database: recordings, their embeddings, the threshold."""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from vprtrain.data.audio.reading import AudioError
from vprtrain.data.audio.speech import Audio
from vprtrain.data.audio.track import Channel
from vprtrain.data.vad.detector import VoiceActivityDetector
from vprtrain.data.vad.detectors import detector_name, open_detector
from vprtrain.data.vad.options import SpeechOptions
from vprtrain.data.vad.speech_reader import Speech, SpeechReader
from vprtrain.errors import CheckpointError, UsageError
from vprtrain.extractors.extractor import Runtime
from vprtrain.files import StrPath
from vprtrain.inference.many import embed_by_length, read_each
from vprtrain.inference.matching import Matcher, Voice
from vprtrain.runtime import set_environment
from vprtrain.scoring.backend import Backend

if TYPE_CHECKING:  # importing the module imports Paddle
    from vprtrain.extractors.extractor import Extractor
    from vprtrain.speaker.state import SpeakerState

log = logging.getLogger(__name__)

MIN_SPEECH = 0.5
"""Net seconds of speech that a recording needs by default"""
ADVISED_FOR_ENROLMENT = 1.0
"""Net seconds; below them a warning says that enrolment should have more. With 0.5 s CAM++ has 1.8
to 6 times the EER of whole recordings, with 1 s 1.2 to 2.6 times (LibriSpeech, acting, digits)."""


class Embedder:
    """A model, and how recordings are read for it. Its methods are those of
    :class:`vprtrain.Predictor`, which explains the arguments too.
    """

    def __init__(
        self,
        checkpoint: StrPath | Extractor,
        device: str | None,
        *,
        max_seconds: float,
        channel: Channel,
        vad: str | VoiceActivityDetector | None,
        min_speech: float,
        level_norm: bool,
        runtime: Runtime,
    ) -> None:
        if not MIN_SPEECH <= max_seconds < math.inf:
            raise UsageError(f"max_seconds is {max_seconds}: expected at least {MIN_SPEECH}")
        if not 0 <= min_speech <= max_seconds:
            raise UsageError(f"min_speech is {min_speech}: expected 0 to {max_seconds:g} s")
        detector = open_detector(vad) if isinstance(vad, str) else vad
        self._extractor = (
            _open_extractor(checkpoint, device, runtime)
            if isinstance(checkpoint, str | os.PathLike)
            else checkpoint
        )
        self._reader = SpeechReader(
            sample_rate=self._extractor.sample_rate,
            min_samples=self._extractor.min_samples,
            max_seconds=max_seconds,
            channel=channel,
            detector=detector,
            level_norm=level_norm,
        )
        self._min_speech = min_speech
        self._has_warned = False
        self.matcher = Matcher(self._extractor.state.backend)
        _require_dimension(self.matcher.backend, self._extractor.embedding_dim)

    @property
    def state(self) -> SpeakerState:
        """The speaker module's keys of the checkpoint's ``model.state``."""
        return self._extractor.state

    @property
    def runtime(self) -> str:
        """What computes the embeddings, with its version, such as "onnxruntime 1.20.0"."""
        return self._extractor.runtime

    @property
    def threshold(self) -> float:
        """The threshold that validation or calibration found.

        Raises:
            UsageError: the checkpoint was never validated or calibrated.
        """
        threshold = self.state.threshold
        if threshold is None:
            raise UsageError(
                "the threshold of this model is unknown, because it was never validated: estimate "
                "it from recordings of your own (vprtrain calibrate), or give one (--threshold)"
            )
        self._warn_of_another_speech()
        return threshold

    @property
    def speech_options(self) -> SpeechOptions:
        """What of a recording is used."""
        vad = None if self._reader.detector is None else detector_name(self._reader.detector)
        return SpeechOptions(vad, self._reader.level_norm)

    def read(self, audio: Audio, *, enrolment: bool = False, name: str = "the audio") -> Speech:
        """What :meth:`embed` embeds of a recording, and what was measured in it.

        Args:
            enrolment: less than 1 s of speech is doubtful.
            name: the name in messages, unless ``audio`` is a path.
        """
        return self._reader.read(
            audio,
            min_speech=self._min_speech,
            advised=ADVISED_FOR_ENROLMENT if enrolment else 0.0,
            name=name,
        )

    def embed(self, audio: Audio, *, enrolment: bool = False) -> np.ndarray:
        """The embedding of a recording, float32 ``[embedding_dim]``, not normalised.

        Args:
            enrolment: warn of less than 1 s of speech.
        """
        return self.voice(audio, enrolment=enrolment).embedding

    def voice(self, audio: Audio, *, enrolment: bool = False, name: str = "the audio") -> Voice:
        """The embedding of a recording, and how much speech it is from; for :attr:`matcher`.

        Args:
            enrolment: warn of less than 1 s of speech.
            name: the name in messages, unless ``audio`` is a path.
        """
        waveform = self.read(audio, enrolment=enrolment, name=name).waveform
        return Voice(self._extractor.embed([waveform])[0], self._seconds(waveform))

    def embed_batch(self, audios: Iterable[Audio], *, enrolment: bool = False) -> np.ndarray:
        """Embeddings, float32 ``[audios, embedding_dim]``, equal to those of :meth:`embed` except
        for rounding.

        At most two minutes of audio, padding included, are embedded at once.

        Args:
            enrolment: warn of less than 1 s of speech.
        """
        named = ((f"audio {number}", audio) for number, audio in enumerate(audios, 1))
        rows = []
        for _, found in self._embed_all(named, enrolment=enrolment, workers=0):
            if isinstance(found, AudioError):
                raise found
            rows.append(found.embedding)
        return np.stack(rows) if rows else np.zeros((0, self._extractor.embedding_dim), np.float32)

    def embed_each(
        self, audios: Mapping[str, Audio], *, enrolment: bool = False, workers: int = 2
    ) -> Iterator[tuple[str, np.ndarray | AudioError]]:
        """The embedding of each recording, or why it cannot be used, by name and in this order.

        Embeddings equal those of :meth:`embed` except for rounding. Half an hour of audio is read
        and sorted by length at a time; of that, at most two minutes are embedded at once.

        Args:
            enrolment: warn of less than 1 s of speech.
            workers: threads that read ahead; with 0 the calling thread reads.
        """
        for key, found in self.voice_each(audios, enrolment=enrolment, workers=workers):
            yield key, found if isinstance(found, AudioError) else found.embedding

    def voice_each(
        self,
        audios: Mapping[str, Audio],
        *,
        enrolment: bool = False,
        workers: int = 2,
        most: float = math.inf,
    ) -> Iterator[tuple[str, Voice | AudioError]]:
        """As :meth:`embed_each`, with how much speech each embedding is from.

        Args:
            most: only so many seconds of what would be embedded are, from their beginning.
        """
        return self._embed_all(audios.items(), enrolment=enrolment, workers=workers, most=most)

    def contrast(self, a: Audio, b: Audio) -> float:
        """The score of two recordings: the higher, the more alike the voices."""
        names = ("the first audio", "the second audio")
        one, other = (
            self.voice(audio, name=name) for audio, name in zip((a, b), names, strict=True)
        )
        return self.matcher.score(one, other, names)

    def _seconds(self, waveform: np.ndarray) -> float:
        return len(waveform) / self._extractor.sample_rate

    def _warn_of_another_speech(self) -> None:
        """Say once that the threshold was found with other options than are used."""
        found, used = self.state.threshold_speech, self.speech_options
        if found != used and not self._has_warned:
            self._has_warned = True
            log.warning(
                "the threshold of this model was found with %s, but is used with %s, which changes "
                "scores: calibrate with the same options (vprtrain calibrate), or give a threshold "
                "(--threshold)",
                found,
                used,
            )

    def _embed_all(
        self,
        audios: Iterable[tuple[str, Audio]],
        *,
        enrolment: bool,
        workers: int,
        most: float = math.inf,
    ) -> Iterator[tuple[str, Voice | AudioError]]:
        samples = None if most == math.inf else round(most * self._extractor.sample_rate)

        def read(name: str, audio: Audio) -> np.ndarray:
            return self.read(audio, enrolment=enrolment, name=name).waveform[:samples]

        def measured() -> Iterator[tuple[tuple[str, float], np.ndarray | AudioError]]:
            for name, found in waveforms:
                seconds = 0.0 if isinstance(found, AudioError) else self._seconds(found)
                yield (name, seconds), found

        with closing(read_each(audios, read, workers=workers)) as waveforms:
            embedded = embed_by_length(
                measured(),
                self._extractor.embed,
                sample_rate=self._extractor.sample_rate,
                threads=self._extractor.threads,
            )
            for (name, seconds), found in embedded:
                yield name, found if isinstance(found, AudioError) else Voice(found, seconds)


def _require_dimension(backend: Backend, expected: int) -> None:
    if backend.dimension not in (None, expected):
        raise CheckpointError(
            f"the back end {backend.kind} of this checkpoint is for embeddings of "
            f"{backend.dimension} values, but the model's have {expected}: calibrate it again "
            "(vprtrain calibrate)"
        )


def _open_extractor(checkpoint: StrPath, device: str | None, runtime: Runtime) -> Extractor:
    set_environment()  # before Paddle is imported, if it is
    from vprtrain.extractors.opening import open_extractor

    return open_extractor(Path(checkpoint), device, runtime=runtime)
