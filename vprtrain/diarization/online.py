"""The voices of a conversation that is going on, told apart while it is heard."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vprtrain.diarization.diarizer import MAX_SPEAKERS
from vprtrain.errors import require_number, require_whole


@dataclass(frozen=True, kw_only=True)
class OnlineClustering:
    """Tells the voices in successive windows apart, without those that will follow.

    A voice is the mean of its windows, each with the same weight. A window belongs to the voice
    whose mean has the highest cosine with it, if that is at least ``same_speaker``. Other windows
    may be a new voice, or two people in one window, or noise: a new voice begins when ``windows``
    of them, one after the other, agree. So a new voice is found ``windows - 1`` hops after its
    first window.

    The values are chosen with a published CAM++ on conversations of training speakers, with windows
    of 1.5 s every 0.5 s.

    Args:
        same_speaker: cosine, above 0.
        windows: that agree with a cosine of at least ``same_speaker``, each with the mean of those
            before.
        least_speech: net seconds of speech in each window that begins or changes a voice.
        max_speakers: the most voices that are told apart. Those after them are not, as long as the
            session lasts.

    Raises:
        UsageError: a value is out of its range.
    """

    same_speaker: float = 0.4
    windows: int = 2
    least_speech: float = 1.0
    max_speakers: int = MAX_SPEAKERS

    def __post_init__(self) -> None:
        require_number("same_speaker", self.same_speaker, above=0, most=1)
        require_number("least_speech", self.least_speech, least=0)
        require_whole("windows", self.windows, 1)
        require_whole("max_speakers", self.max_speakers, 1)


class HeardVoices:
    """The voices of one session: their means and nothing else, at most ``max_speakers``.

    Args:
        clustering: how they are told apart.
    """

    def __init__(self, clustering: OnlineClustering) -> None:
        self._clustering = clustering
        self._voices: list[_Mean] = []
        self._candidate: _Mean | None = None

    def __len__(self) -> int:
        return len(self._voices)

    def mean(self, voice: int) -> np.ndarray:
        """The mean of a voice's windows, float64 ``[dimension]``, of any length."""
        return self._voices[voice].vector

    def hear(self, unit: np.ndarray, speech: float) -> int | None:
        """The voice of the next window, from 0; ``None`` if it is none of them, or not yet one.

        Args:
            unit: the window's embedding ``[dimension]``, of length 1.
            speech: net seconds of speech in the window.
        """
        enough = speech >= self._clustering.least_speech
        cosines = [voice.cosine(unit) for voice in self._voices]
        nearest = int(np.argmax(cosines)) if cosines else None
        if nearest is not None and cosines[nearest] >= self._clustering.same_speaker:
            self._candidate = None
            if enough:
                self._voices[nearest].add(unit)
            return nearest
        if enough and len(self) < self._clustering.max_speakers:
            return self._perhaps_new(unit)
        return None

    def _perhaps_new(self, unit: np.ndarray) -> int | None:
        candidate = self._candidate
        if candidate is None or candidate.cosine(unit) < self._clustering.same_speaker:
            candidate = self._candidate = _Mean(unit)
        else:
            candidate.add(unit)
        if candidate.count < self._clustering.windows:
            return None
        self._voices.append(candidate)
        self._candidate = None
        return len(self) - 1


class _Mean:
    """The mean of vectors, each with the same weight."""

    def __init__(self, vector: np.ndarray) -> None:
        self.vector = vector.astype(np.float64)
        self.count = 1

    def add(self, vector: np.ndarray) -> None:
        self.count += 1
        self.vector = self.vector + (vector - self.vector) / self.count

    def cosine(self, unit: np.ndarray) -> float:
        """With a vector of length 1."""
        return float(self.vector @ unit / np.linalg.norm(self.vector))
