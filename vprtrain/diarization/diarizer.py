"""Who speaks when: from a recording to segments with speakers."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from vprtrain.diarization.centroids import centroids
from vprtrain.diarization.clustering import Clustering
from vprtrain.diarization.resegmentation import Resegmentation
from vprtrain.diarization.voice_activity import segments_by_voice
from vprtrain.diarization.windows import EmbeddedWindows, WindowEmbedder
from vprtrain.errors import UsageError, require_whole

MAX_SPEAKERS = 20
"""Found at most, unless told otherwise"""

_PASSES = 3


@dataclass(frozen=True, kw_only=True)
class Turn:
    """A stretch in which one speaker speaks."""

    start: float
    """Seconds from the beginning of the recording"""
    end: float
    """Seconds"""
    speaker: int
    """Its row in :attr:`Diarization.voices`"""


@dataclass(frozen=True, kw_only=True)
class Diarization:
    """Who speaks when in a recording. Speakers are counted in the order in which they begin."""

    turns: list[Turn]
    """In order, without overlap"""
    voices: np.ndarray
    """The mean embedding of each speaker, float64 ``[speakers, dimension]``, of length 1"""


@dataclass(frozen=True, kw_only=True)
class Diarizer:
    """Splits a recording into the turns of its speakers.

    Speech is cut into windows, the windows' embeddings are clustered, and Viterbi decoding against
    the clusters' means, three times with the means of the time before, finds the changes within
    windows. At last what resembles a speaker is added, though no speech was detected there, and
    what resembles none is left out. Two voices at once are given to one speaker.

    A recording comes in blocks. What is kept of it are its embeddings.
    """

    embedder: WindowEmbedder
    clustering: Clustering = field(default_factory=Clustering)
    switch_cost: float = 0.3
    """As :class:`vprtrain.diarization.Resegmentation` says"""

    def diarize(
        self,
        blocks: Iterable[np.ndarray],
        *,
        num_speakers: int | None = None,
        max_speakers: int = MAX_SPEAKERS,
    ) -> Diarization:
        """The turns of a recording; none if nobody speaks.

        Args:
            blocks: float32 ``[samples]``, finite; joined the samples of the recording.
            num_speakers: ``None`` to find it.
            max_speakers: the most that may be found.

        Raises:
            UsageError: a number is out of its range, or there is too little speech for so many
                speakers.
        """
        _check_numbers(num_speakers, max_speakers)
        return self.turns(
            self.embedder.embed_blocks(blocks),
            num_speakers=num_speakers,
            max_speakers=max_speakers,
        )

    def turns(
        self,
        windows: EmbeddedWindows,
        *,
        num_speakers: int | None = None,
        max_speakers: int = MAX_SPEAKERS,
    ) -> Diarization:
        """The turns of a recording that is embedded already; as :meth:`diarize`."""
        _check_numbers(num_speakers, max_speakers)
        if num_speakers is not None and num_speakers > len(windows):
            raise UsageError(
                f"num_speakers is {num_speakers}, but the recording has {len(windows)} windows of "
                "speech: expected at most one speaker in each"
            )
        if not len(windows):
            return Diarization(turns=[], voices=np.zeros((0, 1)))
        labels = self.clustering.labels(
            windows.embeddings, num_speakers=num_speakers, max_speakers=max_speakers
        )
        decoding = Resegmentation(windows, switch_cost=self.switch_cost)
        voices = centroids(windows.embeddings, labels)
        for _ in range(_PASSES):
            frames = decoding.frame_labels(voices)
            heard, labels = np.unique(decoding.window_labels(frames), return_inverse=True)
            voices[heard] = centroids(windows.embeddings, labels)
        found = segments_by_voice(windows, frames, voices, switch_cost=self.switch_cost)
        return _in_order(found, voices)


def _check_numbers(num_speakers: int | None, max_speakers: int) -> None:
    if num_speakers is not None:
        require_whole("num_speakers", num_speakers, 1)
    require_whole("max_speakers", max_speakers, 1)


def _in_order(segments: list[tuple[float, float, int]], voices: np.ndarray) -> Diarization:
    """Numbers the speakers in the order in which they begin; who never speaks is left out."""
    order = list(dict.fromkeys(speaker for _, _, speaker in segments))
    turns = [
        Turn(start=start, end=end, speaker=order.index(speaker)) for start, end, speaker in segments
    ]
    return Diarization(turns=turns, voices=voices[order])
