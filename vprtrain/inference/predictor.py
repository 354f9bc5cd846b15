"""The model in an application: compare two voices, enrol users, recognise the speaker."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from vprtrain.data.audio.speech import Audio
from vprtrain.data.audio.track import Channel
from vprtrain.data.vad.detector import VoiceActivityDetector
from vprtrain.data.whole_utterances import MAX_BATCH_SECONDS
from vprtrain.diarization.clustering import Clustering
from vprtrain.diarization.diarizer import MAX_SPEAKERS
from vprtrain.diarization.naming import speaker_names
from vprtrain.diarization.online import OnlineClustering
from vprtrain.extractors.extractor import Runtime
from vprtrain.files import StrPath
from vprtrain.inference.diarizing import diarize_audio, require_one_speaker
from vprtrain.inference.embedder import MIN_SPEECH, Embedder
from vprtrain.inference.matching import Matcher, Voice
from vprtrain.inference.stream import SpeakerStream
from vprtrain.lists.segment import Segment
from vprtrain.voiceprints.database import Voiceprints
from vprtrain.voiceprints.search import NO_SCORE
from vprtrain.voiceprints.user import checked_name

if TYPE_CHECKING:  # importing the module imports Paddle
    from vprtrain.extractors.extractor import Extractor


class Predictor(Embedder):
    """A trained model and, optionally, a database of voiceprints.

    Threads may share a Predictor, and processes may share the database. The checkpoint supplies the
    model, its feature, the sample rate, and the threshold that validation or calibration found.
    Scores are cosines, from -1 to 1, unless ``vprtrain calibrate`` has given the checkpoint another
    back end (:class:`vprtrain.scoring.Backend`). A user is recognised if the score is the threshold
    or above.

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
        super().__init__(
            checkpoint,
            device,
            max_seconds=max_seconds,
            channel=channel,
            vad=vad,
            min_speech=min_speech,
            level_norm=level_norm,
            runtime=runtime,
        )
        self._voiceprints = (
            None if voiceprints is None else Voiceprints(voiceprints, model=self._extractor.digest)
        )
        self.matcher = Matcher(self.state.backend, self._voiceprints)

    @property
    def voiceprints(self) -> Voiceprints:
        """The database of voiceprints.

        Raises:
            UsageError: the Predictor has no database.
        """
        return self.matcher.voiceprints

    def close(self) -> None:
        """Close the database, if the Predictor has one."""
        if self._voiceprints is not None:
            self._voiceprints.close()

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
        """The user whose voiceprint has the highest score, and this score. Below the threshold the
        user is ``None``.

        With no enrolled user the score is -1.

        Args:
            threshold: ``None`` for the checkpoint's.

        Raises:
            UsageError: there is no database or no threshold.
        """
        self.matcher.require_database()
        limit = self.threshold if threshold is None else threshold
        return self.matcher.nearest(self.voice(audio), threshold=limit)

    def diarize(
        self,
        audio: Audio,
        num_speakers: int | None = None,
        max_speakers: int = MAX_SPEAKERS,
        *,
        threshold: float | None = None,
        clustering: Clustering = Clustering(),
        progress: Callable[[float], object] = lambda seconds: None,
    ) -> list[Segment]:
        """Who speaks when. With a database, speakers have the names of the users whose voiceprints
        they match; the others are ``speaker_1``, ``speaker_2`` and so on.

        The recording may be hours long: it is read in blocks, and ``max_seconds`` and
        ``min_speech`` do not limit it. Without ``vad`` the detector is that of "auto". Where two
        people speak at once, one of them is named.

        Args:
            num_speakers: ``None`` to find it.
            max_speakers: the most that may be found.
            threshold: of names; ``None`` for the checkpoint's. It needs a database.
            clustering: how the speakers are found.
            progress: is called with the seconds of each block that was read.

        Returns:
            In order, without overlap; empty if nobody speaks.

        Raises:
            UsageError: a number is out of its range, there is too little speech for so many
                speakers, or there is a database but no threshold.
        """
        limit = None
        if self._voiceprints is not None:
            limit = self.threshold if threshold is None else threshold
        found = diarize_audio(
            audio,
            self._extractor,
            self._reader,
            num_speakers=num_speakers,
            max_speakers=max_speakers,
            clustering=clustering,
            progress=progress,
        )
        matches = [
            (None, NO_SCORE)
            if limit is None
            else self.matcher.nearest(Voice(voice), threshold=limit)
            for voice in found.voices
        ]
        names = speaker_names(matches)
        return [Segment(turn.start, turn.end, names[turn.speaker]) for turn in found.turns]

    def require_one_speaker(self, audio: Audio, *, name: str = "the audio") -> None:
        """Refuse a recording in which several people speak, as far as it would be embedded.

        Args:
            name: the name in messages, unless ``audio`` is a path.

        Raises:
            AudioError: the recording cannot be read, or several people speak in it.
        """
        require_one_speaker(audio, self._extractor, self._reader, name=name)

    def stream(
        self,
        *,
        sample_rate: int = 16000,
        window: float = 1.5,
        hop: float = 0.5,
        smoothing: float = 0.5,
        threshold: float | None = None,
        diarize: bool | OnlineClustering = False,
    ) -> SpeakerStream:
        """Recognise the speaker continuously: see :class:`SpeakerStream`.

        Args:
            sample_rate: of the samples that will be given, in Hz.
            window: seconds that a decision looks back.
            hop: seconds from a decision to the next.
            smoothing: the share of the earlier windows in a decision.
            threshold: ``None`` for the checkpoint's.
            diarize: tell unknown voices apart and number them, with other values than the defaults
                if it is an OnlineClustering. Then no database is needed.

        Raises:
            UsageError: there is no database or no threshold, or a value is out of range.
        """
        return SpeakerStream(
            extractor=self._extractor,
            reader=self._reader,
            matcher=self.matcher,
            threshold=self.threshold if threshold is None else threshold,
            min_speech=min(self._min_speech, window),
            sample_rate=sample_rate,
            window=window,
            hop=hop,
            smoothing=smoothing,
            clustering=OnlineClustering() if diarize is True else diarize or None,
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
