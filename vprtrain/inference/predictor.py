"""The model in an application: compare two voices, enrol people, recognise who speaks."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from vprtrain import runtime
from vprtrain.data.audio.reading import StrPath
from vprtrain.data.audio.speech import Audio, read_speech
from vprtrain.data.dataset import MIN_SECONDS
from vprtrain.data.whole_utterances import MAX_BATCH_SECONDS
from vprtrain.errors import UsageError
from vprtrain.scoring.cosine import unit_vectors
from vprtrain.voiceprints.database import Voiceprints, checked_name


class Predictor:
    """A trained model and, if asked for, a database of voiceprints. Threads may share one;
    processes the database.

    Everything comes from the checkpoint: the model, its features, the sample rate, and the
    threshold that its validation found. Scores are cosines, from -1 to 1; a voice is recognised at
    the threshold or above.

    Audio (:data:`vprtrain.data.audio.speech.Audio`) is a path, a file open in binary mode, the
    bytes of a whole file, or ``(array, sample_rate)``. The first channel counts. What is no audio,
    is shorter than half a second, or silent, raises
    :class:`vprtrain.data.audio.reading.AudioError`.

    Args:
        checkpoint: a run directory (its best model), a checkpoint, or an exported model.
        voiceprints: the database's file, made where it is missing; needed to register and to
            recognise.
        device: "cpu", "gpu" or "gpu:N"; ``None`` takes a GPU where there is one.
        max_seconds: of a longer recording only the beginning is embedded, which bounds memory.

    Raises:
        UsageError: there is no such model or device, or the database is another model's.
        CheckpointError: the checkpoint is damaged, or not a speaker model's.
        RunError: the database cannot be read or written.
    """

    def __init__(
        self,
        checkpoint: StrPath,
        voiceprints: StrPath | None = None,
        device: str | None = None,
        *,
        max_seconds: float = MAX_BATCH_SECONDS,
    ) -> None:
        if not MIN_SECONDS <= max_seconds < math.inf:
            raise UsageError(f"max_seconds is {max_seconds}: expected at least {MIN_SECONDS}")
        runtime.set_environment()  # read when Paddle is imported, so before the next line
        from vprtrain.extractors.opening import open_extractor

        self._extractor = open_extractor(Path(checkpoint), device)
        self._max_seconds = max_seconds
        self._voiceprints = (
            None if voiceprints is None else Voiceprints(voiceprints, model=self._extractor.digest)
        )

    @property
    def state(self) -> Mapping[str, Any]:
        """What the checkpoint's ``model.state`` says."""
        return self._extractor.state

    @property
    def threshold(self) -> float:
        """The one that validation found.

        Raises:
            UsageError: the checkpoint was never validated.
        """
        threshold = self.state.get("threshold")
        if not isinstance(threshold, int | float):
            raise UsageError(
                "the checkpoint has no threshold, as it was never validated: give one (--threshold)"
            )
        return float(threshold)

    @property
    def voiceprints(self) -> Voiceprints:
        """The database.

        Raises:
            UsageError: none was given.
        """
        if self._voiceprints is None:
            raise UsageError(
                "there is no database of voiceprints: give Predictor its file, voiceprints=FILE"
            )
        return self._voiceprints

    def close(self) -> None:
        """Close the database, if there is one."""
        if self._voiceprints is not None:
            self._voiceprints.close()

    def embed(self, audio: Audio) -> np.ndarray:
        """The embedding of a recording, float32 ``[embedding_dim]``, not normalised."""
        return self._extractor.embed([self._read(audio, "the audio")])[0]

    def embed_batch(self, audios: Iterable[Audio]) -> np.ndarray:
        """Embeddings, float32 ``[audios, embedding_dim]``, each what :meth:`embed` gives (to
        rounding).

        So many are in memory at once as last two minutes together.
        """
        embedded = [self._extractor.embed(batch) for batch in self._batches(audios)]
        return np.concatenate([np.zeros((0, self._extractor.embedding_dim), np.float32), *embedded])

    def contrast(self, a: Audio, b: Audio) -> float:
        """The cosine of two recordings' embeddings: the higher, the likelier the same speaker."""
        names = ("the first audio", "the second audio")
        embeddings = np.stack(
            [
                self._extractor.embed([self._read(*pair)])[0]
                for pair in zip((a, b), names, strict=True)
            ]
        )
        first, second = unit_vectors(embeddings, names)
        return min(max(float(first @ second), -1.0), 1.0)

    def register(self, audio: Audio, user_name: str) -> int:
        """Enrol a recording of a user, new or known; how many recordings the user has now.

        A user's voiceprint is the mean of the recordings' embeddings, each scaled to length 1.

        Raises:
            UsageError: the name cannot be one, or there is no database.
        """
        voiceprints, name = self.voiceprints, checked_name(user_name)
        return voiceprints.add(name, self.embed(audio))

    def recognize(self, audio: Audio, threshold: float | None = None) -> tuple[str | None, float]:
        """The user whose voiceprint is nearest, and its cosine; ``None`` instead of a name below
        the threshold.

        Where nobody is enrolled, the score is -1, the least there is.

        Args:
            threshold: ``None`` is the checkpoint's.

        Raises:
            UsageError: there is no database, or no threshold.
        """
        voiceprints = self.voiceprints
        limit = self.threshold if threshold is None else threshold
        name, score = voiceprints.nearest(self.embed(audio))
        return (name if score >= limit else None), score

    def get_users(self) -> list[str]:
        """The names of all users, sorted."""
        return list(self.voiceprints.users())

    def remove_user(self, name: str) -> bool:
        """Remove a user, and all that is stored of them, from the database; whether there was
        one."""
        return self.voiceprints.remove(name)

    def _read(self, audio: Audio, name: str) -> np.ndarray:
        rate = self._extractor.sample_rate
        return read_speech(
            audio,
            sample_rate=rate,
            min_samples=max(round(MIN_SECONDS * rate), self._extractor.min_samples),
            max_seconds=self._max_seconds,
            name=name,
        )

    def _batches(self, audios: Iterable[Audio]) -> Iterator[list[np.ndarray]]:
        limit = MAX_BATCH_SECONDS * self._extractor.sample_rate
        batch: list[np.ndarray] = []
        for number, audio in enumerate(audios, 1):
            waveform = self._read(audio, f"audio {number}")
            if batch and (len(batch) + 1) * max(len(waveform), *map(len, batch)) > limit:
                yield batch
                batch = []
            batch.append(waveform)
        if batch:
            yield batch
