"""Speech from an application, read and checked: a path, an open file, bytes, or samples."""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Iterator
from typing import Protocol, TypeAlias, runtime_checkable

import numpy as np

from vprtrain.data.audio.files import AudioFile, InMemory
from vprtrain.data.audio.reading import AudioError, first_decoded, read_audio
from vprtrain.data.audio.track import Channel, Track, select
from vprtrain.errors import shown
from vprtrain.files import StrPath

log = logging.getLogger(__name__)

MAX_BYTES = 256 << 20
"""The most that is read from an open file; a longer recording must be given by its path"""

SILENCE = 1e-4
"""Root mean square around the mean, -80 dBFS. 16-bit dither is at -92 dBFS, the quietest speech
measured at -58 dBFS."""

_MAX_CHANNELS = 64
_BLOCK = 1 << 16
_SCALES = {"int16": 2.0**-15, "int32": 2.0**-31, "float16": 1.0, "float32": 1.0, "float64": 1.0}


@runtime_checkable
class BinaryFile(Protocol):
    """A file open for reading in binary mode."""

    def read(self, size: int, /) -> bytes: ...


Audio: TypeAlias = StrPath | BinaryFile | bytes | bytearray | memoryview | tuple[np.ndarray, int]
"""A path; a file open in binary mode, read from its current position; the bytes of a whole file; or
samples and their rate in Hz: ``[samples]`` or ``[samples, channels]``, int16, int32, or
floating-point in [-1, 1]"""


def read_speech(
    audio: Audio | InMemory | Track,
    *,
    sample_rate: int,
    min_samples: int,
    max_seconds: float,
    channel: Channel = 0,
    name: str = "the audio",
) -> np.ndarray:
    """One channel of a recording, or the mix: float32 ``[samples]`` in [-1, 1] at ``sample_rate``.

    Samples are treated like a file that holds them. A longer recording is cut, with a warning.

    Args:
        sample_rate: Hz.
        min_samples: fewer are refused.
        max_seconds: only this much from the beginning is read.
        channel: from 0, or ``"mix"`` for the mean of all channels.
        name: the name in messages, unless ``audio`` is a path.

    Raises:
        AudioError: ``audio`` is not audio, cannot be decoded, is too short, has samples that are
            not finite, or is silent (below :data:`SILENCE`).
    """
    recording = as_recording(audio, name)
    most = round(max_seconds * sample_rate)
    waveform = read_audio(
        recording, sample_rate=sample_rate, duration=(most + 1) / sample_rate, channel=channel
    )
    is_cut, waveform = len(waveform) > most, waveform[:most]
    if len(waveform) < min_samples:
        raise AudioError(
            f"{recording}: too short, {len(waveform) / sample_rate:.2f} s; "
            f"expected at least {min_samples / sample_rate:g} s of speech (--min_speech)"
        )
    level = float(np.std(waveform, dtype=np.float64))
    if level < SILENCE:
        decibels = 20 * math.log10(level) if level > 0 else -math.inf
        channels = channel_count(recording)
        raise AudioError(
            f"{recording}: silent in its first {len(waveform) / sample_rate:.1f} s, at "
            f"{decibels:.0f} dBFS; expected speech, above {20 * math.log10(SILENCE):.0f} dBFS"
            + (f" (this is channel {channel} of {channels}: try --channel)" * (channels > 1))
        )
    if is_cut:
        log.warning("%s: only its first %g s are used (--max_seconds)", recording, max_seconds)
    return waveform


def channel_count(recording: AudioFile | Track) -> int:
    """The number of a recording's channels.

    Raises:
        AudioError: as :func:`vprtrain.data.audio.read_audio`.
    """
    return first_decoded(recording, lambda track: track.channels)


def as_recording(audio: Audio | InMemory | Track, name: str) -> StrPath | InMemory | Track:
    """What :func:`vprtrain.data.audio.read_audio` reads. An open file is read to its end.

    Args:
        name: the name in messages, unless ``audio`` is a path.

    Raises:
        AudioError: ``audio`` is not audio.
    """
    if isinstance(audio, str | os.PathLike | InMemory | Track):
        return audio
    if isinstance(audio, bytes | bytearray | memoryview):
        return InMemory(name, bytes(audio))
    if isinstance(audio, tuple) and len(audio) == 2 and isinstance(audio[0], np.ndarray):
        return _ArrayTrack(*audio, name)
    if isinstance(audio, BinaryFile):
        return InMemory(name, _content(audio, name))
    hint = (
        "; give an array with its sample rate, as (array, rate)"
        if isinstance(audio, np.ndarray)
        else ""
    )
    raise AudioError(
        f"{name}: a {type(audio).__name__} is not audio; expected a path, a file open in binary "
        f"mode, bytes, or (array, rate){hint}"
    )


def _content(file: BinaryFile, name: str) -> bytes:
    try:
        content = file.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:  # ValueError: closed, or not decodable text
        raise AudioError(f"{name}: the file cannot be read ({error})") from error
    if not isinstance(content, bytes):
        raise AudioError(
            f"{name}: the file gives {type(content).__name__}; open it in binary mode, with 'rb'"
        )
    if len(content) > MAX_BYTES:
        raise AudioError(
            f"{name}: the file is larger than {MAX_BYTES >> 20} MB; give its path instead"
        )
    return content


class _ArrayTrack(Track):
    """Samples in memory, as an opened recording."""

    def __init__(self, samples: np.ndarray, rate: int, name: str) -> None:
        self._name = name
        if samples.dtype.name not in _SCALES:
            raise AudioError(
                f"{self}: samples of {samples.dtype}; expected one of {', '.join(_SCALES)}"
            )
        if samples.ndim not in (1, 2) or (
            samples.ndim == 2 and not 1 <= samples.shape[1] <= _MAX_CHANNELS
        ):
            raise AudioError(
                f"{self}: an array of shape {list(samples.shape)}; expected [samples], or "
                f"[samples, channels] with 1 to {_MAX_CHANNELS} channels"
            )
        if not isinstance(rate, int | np.integer):
            raise AudioError(
                f"{self}: a sample rate of {shown(rate, 40)}; expected a whole number of Hz"
            )
        self._samples = samples[:, np.newaxis] if samples.ndim == 1 else samples
        self.rate, self.channels = int(rate), self._samples.shape[1]

    def __str__(self) -> str:
        return self._name

    def blocks(self, first: int, count: int | None, channel: Channel) -> Iterator[np.ndarray]:
        end = len(self._samples) if count is None else min(first + count, len(self._samples))
        scale = _SCALES[self._samples.dtype.name]
        for place in range(first, end, _BLOCK):
            samples = (self._samples[place : min(place + _BLOCK, end)] * scale).astype(np.float32)
            yield select(samples, channel)
