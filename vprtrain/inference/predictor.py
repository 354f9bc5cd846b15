"""The model in an application: compare two voices, enrol users, recognise the speaker."""

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
from vprtrain.data.whole_utterances import MAX_BATCH_SECONDS
from vprtrain.errors import UsageError
from vprtrain.extractors.extractor import Runtime
from vprtrain.files import StrPath
from vprtrain.inference.many import embed_by_length, read_each
from vprtrain.inference.stream import SpeakerStream
from vprtrain.runtime import set_environment
from vprtrain.scoring.cosine import cosine
from vprtrain.voiceprints.database import Voiceprints
from vprtrain.voiceprints.user import checked_name

if TYPE_CHECKING:  # importing the module imports Paddle
    from vprtrain.extractors.extractor import Extractor
    from vprtrain.speaker.state import SpeakerState

log = logging.getLogger(__name__)

MIN_SPEECH = 0.5
"""Net seconds of speech that a recording needs by default"""
ADVISED_FOR_ENROLMENT = 1.0
"""Net seconds; below them a warning says that enrolment should have more. With 0.5 s CAM++ has 1.8
to 6 times the EER of whole recordings, with 1 s 1.2 to 2.6 times (LibriSpeech, acting, digits)."""


class Predictor:
    """A trained model and, optionally, a database of voiceprints.

    Threads may share a Predictor, and processes may share the database. The checkpoint supplies the
    model, its feature, the sample rate, and the threshold that validation found. Scores are
    cosines, from -1 to 1. A user is recognised if the score is the threshold or above.

    Audio (:data:`vprtrain.data.audio.speech.Audio`) is a path, a file open in binary mode, the
    bytes of a whole file, or ``(array, sample_rate)``. Audio that cannot be decoded, is silent, or
    has too little speech raises :class:`vprtrain.data.audio.reading.AudioError`. What is doubtful
    is logged as a warning: a recording that is cut, quiet, or sounds like a tone or noise.

    Args:
        checkpoint: a run directory (its best_model is used), a checkpoint, or an exported model; or
            an extractor that is open already.
        voiceprints: the database's file, made if it is missing, or the URL of a PostgreSQL
            database. It is needed for enrolment and recognition.
        device: "cpu", "gpu" or "gpu:N". With ``None`` a GPU is used if one is available.
        max_seconds: only this much of the beginning of a recording is embedded, which bounds
            memory.
        channel: the channel of a recording with several, from 0; or ``"mix"``, the mean of all.
        vad: what finds the speech in a recording; everything else is then left out. "silero" needs
            the extra ``[vad]``, "energy" nothing, and "auto" chooses the first that is installed; a
            detector of one's own (:class:`vprtrain.data.vad.VoiceActivityDetector`) is used as it
            is. With ``None`` recordings stay whole.
        min_speech: net seconds of speech that a recording must have, as ``vad`` finds them, or as
            "energy" without it.
        level_norm: scale every recording to the same level. Features have a floor, so a quiet
            recording scores lower without it.
        runtime: "paddle", "onnx" (ONNX Runtime), or "auto", the fastest one that is installed. A
            large checkpoint is then converted to ONNX at the first start, which takes seconds;
            embeddings differ from Paddle's in their last digits, by 1e-4 of the largest value at
            most.

    Raises:
        UsageError: there is no such model, device or detector, a number is out of range, or the
            database belongs to another model.
        CheckpointError: the checkpoint is damaged, or is not a speaker model.
        RunError: the database cannot be read or written.
    """

    def __init__(
        self,
        checkpoint: StrPath | Extractor,
        voiceprints: StrPath | None = None,
        device: str | None = None,
        *,
        max_seconds: float = MAX_BATCH_SECONDS,
        channel: Channel = 0,
        vad: str | VoiceActivityDetector | None = None,
        min_speech: float = MIN_SPEECH,
        level_norm: bool = False,
        runtime: Runtime = "auto",
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
        self._voiceprints = (
            None if voiceprints is None else Voiceprints(voiceprints, model=self._extractor.digest)
        )

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

    @property
    def voiceprints(self) -> Voiceprints:
        """The database of voiceprints.

        Raises:
            UsageError: the Predictor has no database.
        """
        if self._voiceprints is None:
            raise UsageError(
                "there is no database of voiceprints: give Predictor its file, voiceprints=FILE"
            )
        return self._voiceprints

    def close(self) -> None:
        """Close the database, if the Predictor has one."""
        if self._voiceprints is not None:
            self._voiceprints.close()

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
        return self._extractor.embed([self.read(audio, enrolment=enrolment).waveform])[0]

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
            rows.append(found)
        return np.stack(rows) if rows else np.zeros((0, self._extractor.embedding_dim), np.float32)

    def embed_each(
        self, audios: Mapping[str, Audio], *, workers: int = 2
    ) -> Iterator[tuple[str, np.ndarray | AudioError]]:
        """The embedding of each recording, or why it cannot be used, by name and in this order.

        Embeddings equal those of :meth:`embed` except for rounding. Half an hour of audio is read
        and sorted by length at a time; of that, at most two minutes are embedded at once.

        Args:
            workers: threads that read ahead; with 0 the calling thread reads.
        """
        return self._embed_all(audios.items(), enrolment=False, workers=workers)

    def contrast(self, a: Audio, b: Audio) -> float:
        """The cosine of two recordings' embeddings: the higher, the more alike the voices."""
        names = ("the first audio", "the second audio")
        first, second = (
            self._extractor.embed([self.read(audio, name=name).waveform])[0]
            for audio, name in zip((a, b), names, strict=True)
        )
        return cosine(first, second, names)

    def register(self, audio: Audio, user_name: str, *, purpose: str = "") -> int:
        """Enrol a recording of a new or known user.

        A user's voiceprint is the mean of the recordings' embeddings, each scaled to length 1.

        Args:
            purpose: what the recording may be used for, stored with it.

        Returns:
            The number of the user's recordings now.

        Raises:
            UsageError: the name or purpose is not valid, or there is no database.
        """
        voiceprints, name = self.voiceprints, checked_name(user_name)
        return voiceprints.add(name, self.embed(audio, enrolment=True), purpose=purpose)

    def recognize(self, audio: Audio, threshold: float | None = None) -> tuple[str | None, float]:
        """The user with the nearest voiceprint, and its cosine. Below the threshold the user is
        ``None``.

        With no enrolled user the score is -1.

        Args:
            threshold: ``None`` for the checkpoint's.

        Raises:
            UsageError: there is no database or no threshold.
        """
        voiceprints = self.voiceprints
        limit = self.threshold if threshold is None else threshold
        name, score = voiceprints.nearest(self.embed(audio))
        return (name if score >= limit else None), score

    def stream(
        self,
        *,
        sample_rate: int = 16000,
        window: float = 1.5,
        hop: float = 0.5,
        smoothing: float = 0.5,
        threshold: float | None = None,
    ) -> SpeakerStream:
        """Recognise the speaker continuously: see :class:`SpeakerStream`.

        Args:
            sample_rate: of the samples that will be given, in Hz.
            window: seconds that a decision looks back.
            hop: seconds from a decision to the next.
            smoothing: the share of the earlier windows in a decision.
            threshold: ``None`` for the checkpoint's.

        Raises:
            UsageError: there is no database or no threshold, or a value is out of range.
        """
        return SpeakerStream(
            extractor=self._extractor,
            reader=self._reader,
            voiceprints=self.voiceprints,
            threshold=self.threshold if threshold is None else threshold,
            min_speech=min(self._min_speech, window),
            sample_rate=sample_rate,
            window=window,
            hop=hop,
            smoothing=smoothing,
        )

    def get_users(self) -> list[str]:
        """The names of all users, sorted."""
        return list(self.voiceprints.users())

    def remove_user(self, name: str) -> bool:
        """Remove a user with all stored data from the database.

        Returns:
            Whether the user was enrolled.
        """
        return self.voiceprints.remove(name)

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
        self, audios: Iterable[tuple[str, Audio]], *, enrolment: bool, workers: int
    ) -> Iterator[tuple[str, np.ndarray | AudioError]]:
        def read(name: str, audio: Audio) -> np.ndarray:
            return self.read(audio, enrolment=enrolment, name=name).waveform

        with closing(read_each(audios, read, workers=workers)) as waveforms:
            yield from embed_by_length(
                waveforms, self._extractor.embed, sample_rate=self._extractor.sample_rate
            )


def _open_extractor(checkpoint: StrPath, device: str | None, runtime: Runtime) -> Extractor:
    set_environment()  # before Paddle is imported, if it is
    from vprtrain.extractors.opening import open_extractor

    return open_extractor(Path(checkpoint), device, runtime=runtime)
