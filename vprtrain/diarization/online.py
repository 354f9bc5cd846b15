"""The voices of a conversation that is going on, told apart while it is heard."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vprtrain.diarization.diarizer import MAX_SPEAKERS
from vprtrain.errors import require_number, require_whole


@dataclass(frozen=True, kw_only=True)
class OnlineClustering:
    """Tells the voices in successive windows apart, without the windows that will follow.

    A voice is the mean of its windows, each with the same weight. A window belongs to the voice
    whose mean has the highest cosine with it, if that is at least ``same_speaker``. Another window
    may be a new voice, or noise, or two people. So a voice begins only when such windows, one after
    the other, agree for ``new_after`` seconds.

    The values are chosen with a published CAM++ on conversations of training speakers, with windows
    of 1.5 s every 0.5 s. There the cosines of windows with the mean of their speaker were 0.6 to
    0.9 (in noise from 0.3), and with that of the most alike other speaker up to 0.4 (in one studio
    0.6). A lower ``same_speaker`` takes two people for one, a higher one finds more voices than
    there are in noise.

    Args:
        same_speaker: cosine, above 0.
        agreement: the cosine of each window that begins a voice with the mean of those before it.
        new_after: seconds from the first to the last window that begin a voice.
        least_speech: net seconds of speech in every window that begins or changes a voice.
        max_speakers: the most voices that are told apart. Further ones are not, in this session.

    Raises:
        UsageError: a value is out of its range.
    """

    same_speaker: float = 0.3
    agreement: float = 0.5
    new_after: float = 1.0
    least_speech: float = 1.0
    max_speakers: int = MAX_SPEAKERS

    def __post_init__(self) -> None:
        require_number("same_speaker", self.same_speaker, above=0, most=1)
        require_number("agreement", self.agreement, above=0, most=1)
        require_number("new_after", self.new_after, above=0)
        require_number("least_speech", self.least_speech, least=0)
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

    def hear(self, unit: np.ndarray, *, end: float, speech: float) -> int | None:
        """The voice of the next window, from 0; ``None`` if it is none of them, or not yet one.

        Args:
            unit: the window's embedding ``[dimension]``, of length 1.
            end: of the window, in seconds.
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
            return self._perhaps_new(unit, end)
        return None

    def _perhaps_new(self, unit: np.ndarray, end: float) -> int | None:
        candidate = self._candidate
        if candidate is None or candidate.cosine(unit) < self._clustering.agreement:
            self._candidate = _Mean(unit, end)
            return None
        candidate.add(unit)
        if end - candidate.since < self._clustering.new_after:
            return None
        self._voices.append(candidate)
        self._candidate = None
        return len(self) - 1


class _Mean:
    """The mean of vectors, each with the same weight.

    Args:
        vector: the first one.
        since: its time in seconds.
    """

    def __init__(self, vector: np.ndarray, since: float) -> None:
        self.vector = vector.astype(np.float64)
        self.since = since
        self._count = 1

    def add(self, vector: np.ndarray) -> None:
        self._count += 1
        self.vector = self.vector + (vector - self.vector) / self._count

    def cosine(self, unit: np.ndarray) -> float:
        """With a vector of length 1."""
        return float(self.vector @ unit / np.linalg.norm(self.vector))
