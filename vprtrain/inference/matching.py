"""The comparison of voices by a model's back end, in pairs and with a database."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from vprtrain.errors import UsageError
from vprtrain.scoring.backend import Backend, IndexPairs, Voices
from vprtrain.scoring.calibrate import MAX_QUALITY_SECONDS
from vprtrain.scoring.cosine import cosine
from vprtrain.voiceprints.database import Voiceprints
from vprtrain.voiceprints.search import NO_SCORE

RESCORED = 64
"""The voiceprints with the highest cosines, which another back end than the cosine scores again"""


class Voice(NamedTuple):
    """An embedding, and how much speech it is from."""

    embedding: np.ndarray
    """float ``[dimension]``, of any length"""
    seconds: float = MAX_QUALITY_SECONDS
    """Of what was embedded; by default as of a voiceprint, whose seconds are not known"""


class Matcher:
    """Scores of voices by one back end: every comparison of an application is made here.

    With the plain cosine, these are :func:`vprtrain.scoring.cosine.cosine` and
    :meth:`vprtrain.voiceprints.Voiceprints.nearest`. Another back end scores the
    :data:`RESCORED` voiceprints with the highest cosines, so a search takes as long in a large
    database; a user whose voiceprint is not among them is not found.

    Args:
        backend: of the model.
        voiceprints: the database; without one only pairs are compared.
    """

    def __init__(self, backend: Backend, voiceprints: Voiceprints | None = None) -> None:
        self.backend = backend
        self._voiceprints = voiceprints

    @property
    def voiceprints(self) -> Voiceprints:
        """The database of voiceprints.

        Raises:
            UsageError: there is none.
        """
        if self._voiceprints is None:
            raise UsageError(
                "there is no database of voiceprints: give Predictor its file, voiceprints=FILE"
            )
        return self._voiceprints

    @property
    def has_database(self) -> bool:
        """Whether there is a database."""
        return self._voiceprints is not None

    def require_database(self) -> None:
        """Refuse to go on without a database.

        Raises:
            UsageError: there is none.
        """
        _ = self.voiceprints

    def score(self, a: Voice, b: Voice, names: Sequence[str]) -> float:
        """The score of two voices: the higher, the more alike.

        Args:
            names: of both, for the message of an error.

        Raises:
            ScoringError: an embedding is zero or not finite.
        """
        if self.backend.is_cosine:
            return cosine(a.embedding, b.embedding, names)
        one, other = (
            Voices.of(voice.embedding[None], [name], [voice.seconds])
            for voice, name in zip((a, b), names, strict=True)
        )
        return float(self.backend.score(IndexPairs.one_test(1), one, other)[0])

    def nearest(self, voice: Voice, *, threshold: float) -> tuple[str | None, float]:
        """The user with the highest score, ``None`` below the threshold, and this score; with no
        enrolled user ``(None, -1.0)``.

        Raises:
            UsageError: there is no database.
            ScoringError: the embedding is zero or not finite.
        """
        if self.backend.is_cosine:
            return self.voiceprints.nearest(voice.embedding, threshold=threshold)
        nearby = self.voiceprints.nearby(voice.embedding, RESCORED)
        if not nearby:
            return None, NO_SCORE
        users = [each.user for each in nearby]
        scores = self.backend.score(
            IndexPairs.one_test(len(nearby)),
            Voices.of(np.stack([each.voiceprint for each in nearby]), users),
            Voices.of(voice.embedding[None], ["the recording"], [voice.seconds]),
        )
        best = int(scores.argmax())
        return (users[best] if scores[best] >= threshold else None), float(scores[best])

    def verify(self, voice: Voice, user: str) -> float:
        """The score of a voice with the voiceprint of the user whom the speaker claims to be.

        Raises:
            UsageError: there is no such user, or no database.
            ScoringError: the embedding is zero or not finite.
        """
        voiceprint = Voice(self.voiceprints.voiceprint(user))
        return self.score(voiceprint, voice, (user, "the recording"))

    def checked_threshold(self, threshold: float, name: str = "threshold") -> float:
        """A threshold in the scale of the scores.

        Args:
            name: in the message of an error.

        Raises:
            UsageError: it is not.
        """
        if self.backend.is_cosine and not -1 <= threshold <= 1:
            raise UsageError(f"{name} is {threshold}: expected -1 to 1, as scores are cosines")
        if not math.isfinite(threshold):
            raise UsageError(f"{name} is {threshold}: expected a number")
        return threshold
