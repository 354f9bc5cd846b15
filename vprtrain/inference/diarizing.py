"""Who speaks when in a recording, with a model in use."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

import numpy as np

from vprtrain.data.audio.blocks import read_blocks
from vprtrain.data.audio.reading import AudioError, require_finite
from vprtrain.data.audio.speech import Audio, as_recording
from vprtrain.data.vad.detectors import BEST, open_detector
from vprtrain.data.vad.speech_reader import SpeechReader
from vprtrain.diarization.clustering import Clustering
from vprtrain.diarization.diarizer import MAX_SPEAKERS, Diarization, Diarizer
from vprtrain.diarization.windows import WindowEmbedder

if TYPE_CHECKING:  # importing the module imports Paddle
    from vprtrain.extractors.extractor import Extractor

log = logging.getLogger(__name__)

_CLEARLY_TWO = 0.4
"""Two voices with a higher cosine of their means may be one. Of 500 pieces of one speaker with 6 to
36 windows, 3 to 10 % are two voices at it; of 340 pieces of two speakers, 3 to 7 % are one."""


def diarize_audio(
    audio: Audio,
    extractor: Extractor,
    reader: SpeechReader,
    *,
    num_speakers: int | None = None,
    max_speakers: int = MAX_SPEAKERS,
    clustering: Clustering = Clustering(),
    duration: float | None = None,
    with_gaps: bool = True,
    progress: Callable[[float], object] = lambda seconds: None,
    name: str = "the audio",
) -> Diarization:
    """The turns of a recording.

    Args:
        audio: of any length; it is read in blocks.
        extractor: the model.
        reader: knows the channel, the level, and the detector of speech; without a detector the
            best that is installed is used.
        num_speakers, max_speakers: as :meth:`vprtrain.diarization.Diarizer.diarize`.
        clustering: finds the speakers.
        duration: seconds from the beginning; ``None`` reads to the end.
        with_gaps: whether speech that the detector missed is looked for.
        progress: is called with the seconds of each block that was read.
        name: the name in messages, unless ``audio`` is a path.

    Raises:
        AudioError: the recording cannot be read.
        UsageError: a number is out of its range, or there is too little speech for so many
            speakers.
    """
    detector = reader.detector or open_detector(BEST)
    recording = as_recording(audio, name)
    diarizer = Diarizer(
        embedder=WindowEmbedder(
            embed=extractor.embed,
            segments=lambda waveform: detector(waveform, extractor.sample_rate),
            prepared=reader.prepared,
            sample_rate=extractor.sample_rate,
            with_gaps=with_gaps,
        ),
        clustering=clustering,
    )
    blocks = read_blocks(
        recording, sample_rate=extractor.sample_rate, duration=duration, channel=reader.channel
    )
    found = diarizer.diarize(
        _checked(blocks, recording, extractor.sample_rate, progress),
        num_speakers=num_speakers,
        max_speakers=max_speakers,
    )
    if not found.turns:
        log.warning("%s: nobody speaks in it%s", recording, reader.louder_channel(recording))
    elif num_speakers is not None and len(found.voices) < num_speakers:
        log.warning(
            "%s: %d speakers were asked for, but the turns of %d are found",
            *(recording, num_speakers, len(found.voices)),
        )
    return found


def require_one_speaker(
    audio: Audio, extractor: Extractor, reader: SpeechReader, *, name: str = "the audio"
) -> None:
    """Refuse a recording with several voices. Arguments are those of :func:`diarize_audio`.

    Raises:
        AudioError: the recording cannot be read, or several people speak in it.
    """
    found = diarize_audio(
        audio,
        extractor,
        reader,
        clustering=Clustering(method="spectral", same_speaker=_CLEARLY_TWO),
        duration=reader.max_seconds,
        with_gaps=False,
        name=name,
    )
    seconds = [
        sum(turn.end - turn.start for turn in found.turns if turn.speaker == speaker)
        for speaker in range(len(found.voices))
    ]
    if len(seconds) > 1:
        raise AudioError(
            f"{as_recording(audio, name)}: {len(seconds)} voices, of "
            f"{' and '.join(f'{each:.1f}' for each in seconds)} s; expected one "
            "(--check_single_speaker)"
        )


def _checked(
    blocks: Iterable[np.ndarray],
    recording: object,
    sample_rate: int,
    progress: Callable[[float], object],
) -> Iterator[np.ndarray]:
    for block in blocks:
        require_finite(recording, block)
        yield block
        progress(len(block) / sample_rate)
