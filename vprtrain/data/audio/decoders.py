"""The decoders of :mod:`vprtrain.data.audio.reading`: blocks of samples from a file. They look at
its content, not at its name."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from fractions import Fraction
from io import SEEK_CUR, SEEK_END, SEEK_SET, BytesIO, FileIO, RawIOBase
from itertools import chain
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np
import soundfile

from vprtrain.data.audio.pcm_wave import PcmWave
from vprtrain.files import StrPath

# Decoded at once, over all channels, so that a wrong header cannot cause a large allocation.
_BLOCK_SAMPLES = 1 << 16
# Seconds that are decoded and dropped after a seek, because a frame depends on those before it.
_PRE_ROLL = 0.5
_INT16_SCALE = np.float32(2.0**-15)


class DecodeError(Exception):
    """A decoder cannot read a file; another one may."""


class ByteRange(NamedTuple):
    """An audio file inside a larger file, such as a member of a tar archive."""

    path: str
    offset: int
    size: int

    def __str__(self) -> str:
        return f"{self.path}, bytes {self.offset} to {self.offset + self.size}"


class InMemory(NamedTuple):
    """The bytes of a whole audio file, and its name in messages."""

    name: str
    content: bytes

    def __str__(self) -> str:
        return self.name


AudioFile: TypeAlias = StrPath | ByteRange | InMemory
"""An audio file: on disk by its path, inside a larger file, or in memory"""

Channel: TypeAlias = int | Literal["mix"]
"""A channel of a recording, counted from 0; ``"mix"`` is the mean of all channels"""


def select(samples: np.ndarray, channel: Channel) -> np.ndarray:
    """One channel, or the mean, of ``[samples, channels]``: ``[samples]`` of the same dtype."""
    return samples.mean(axis=1, dtype=samples.dtype) if channel == "mix" else samples[:, channel]


class Track(ABC):
    """An opened recording. Reading raises :class:`DecodeError` if it fails."""

    rate: int
    """Hz, from the header; it may be absurd"""
    channels: int
    header_seconds: float | None
    """The duration from the header; ``None`` if the header has none"""

    @abstractmethod
    def blocks(self, first: int, count: int | None, channel: Channel) -> Iterator[np.ndarray]:
        """Samples of one channel or of the mix, in blocks of float32 ``[samples]``.

        Args:
            first: the index of the first sample.
            count: the number of samples, fewer at the end of the recording; ``None`` for all.
            channel: one that the track has, or the mix.
        """


class Decoder(NamedTuple):
    """One way to decode a file."""

    name: str
    open: Callable[[AudioFile], AbstractContextManager[Track]]
    """Raises :class:`DecodeError` for a file that it cannot read"""


class _PcmWaveTrack(Track):
    def __init__(self, wave: PcmWave) -> None:
        self._wave = wave
        self.rate, self.channels = wave.rate, wave.channels
        self.header_seconds = wave.frames / wave.rate

    def blocks(self, first: int, count: int | None, channel: Channel) -> Iterator[np.ndarray]:
        block = max(1, _BLOCK_SAMPLES // self.channels)
        end = self._wave.frames if count is None else min(first + count, self._wave.frames)
        for place in range(first, end, block):
            samples = self._wave.read(place, min(block, end - place))
            if channel == "mix":
                yield select(samples * _INT16_SCALE, channel)
            else:
                yield samples[:, channel] * _INT16_SCALE


class _SoundFileTrack(Track):
    """A track of libsndfile: WAV, FLAC, Ogg, Opus, MP3 and more, with exact seeking."""

    def __init__(self, sound: soundfile.SoundFile) -> None:
        self._sound = sound
        self.rate, self.channels = sound.samplerate, sound.channels
        self.header_seconds = sound.frames / sound.samplerate

    def blocks(self, first: int, count: int | None, channel: Channel) -> Iterator[np.ndarray]:
        block = max(1, _BLOCK_SAMPLES // self.channels)
        missing = self._sound.frames if count is None else count
        self._sound.seek(min(first, self._sound.frames))
        while missing > 0:
            samples = self._sound.read(min(block, missing), dtype="float32", always_2d=True)
            if not len(samples):
                return
            missing -= len(samples)
            yield select(samples, channel)


class _FFmpegTrack(Track):
    """A track of FFmpeg: AAC, WMA, the sound of videos and more.

    If the stream's clock counts samples, as in MP4, the time of a frame is its exact position, and
    reading seeks close to the requested part. In other formats (raw AAC, Matroska) times are
    rounded or estimated, so reading decodes from the beginning.
    """

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self.rate, self.channels = stream.rate, stream.channels
        seconds = stream.duration and stream.time_base and float(stream.duration * stream.time_base)
        self.header_seconds = seconds or None

    def blocks(self, first: int, count: int | None, channel: Channel) -> Iterator[np.ndarray]:
        end = float("inf") if count is None else first + count
        for position, samples in self._placed(first, channel):
            part = samples[
                max(0, first - position) : max(0, int(min(end - position, len(samples))))
            ]
            if len(part):
                yield part
            if position + len(samples) >= end:
                return

    def _placed(self, first: int, channel: Channel) -> Iterator[tuple[int, np.ndarray]]:
        """Samples with their position in the recording, from ``first`` or earlier."""
        import av

        frames, position = self._frames_from(first - round(_PRE_ROLL * self.rate))
        to_float = av.AudioResampler(format="fltp")  # keeps the rate and the channels
        for frame in frames:
            for part in to_float.resample(frame):
                samples = select(part.to_ndarray().T, channel)
                yield position, samples
                position += len(samples)

    def _frames_from(self, target: int) -> tuple[Iterator[Any], int]:
        """Frames from position ``target`` or earlier, and the position of the first frame."""
        stream = self._stream
        frames = stream.container.decode(stream)
        head = next(frames, None)
        if head is None:
            return iter(()), 0
        if target > 0 and head.pts is not None and stream.time_base == Fraction(1, self.rate):
            stream.container.seek(head.pts + target, stream=stream)
            frames = stream.container.decode(stream)
            landed = next(frames, None)
            if landed is not None and landed.pts is not None and landed.pts - head.pts <= target:
                return chain([landed], frames), landed.pts - head.pts
            stream.container.seek(head.pts, stream=stream)  # too far: back to the beginning
            return stream.container.decode(stream), 0
        return chain([head], frames), 0


@contextmanager
def _open_sound_file(audio: AudioFile) -> Iterator[Track]:
    try:
        with _raw_file(audio) as file:
            size = file.seek(0, SEEK_END)
            wave = PcmWave.recognise(file, size)
            if wave is not None:
                yield _PcmWaveTrack(wave)
                return
            file.seek(0)
            # By descriptor, because soundfile and libsndfile guess some formats from the name.
            content = file.fileno() if isinstance(file, FileIO) else file
            with soundfile.SoundFile(content, closefd=False) as sound:
                yield _SoundFileTrack(sound)
    except soundfile.LibsndfileError as error:
        raise DecodeError(error.error_string) from error
    except (soundfile.SoundFileError, OSError) as error:
        raise DecodeError(str(error)) from error


@contextmanager
def _open_with_ffmpeg(audio: AudioFile) -> Iterator[Track]:
    import av  # takes 0.1 s, so it is imported only for files that libsndfile cannot read

    try:
        with _container(audio) as container:
            if not container.streams.audio:
                raise DecodeError("no audio track")
            if not container.streams.audio[0].rate:
                raise DecodeError("no sample rate")
            yield _FFmpegTrack(container.streams.audio[0])
    except av.FFmpegError as error:
        raise DecodeError(error.strerror) from error
    except (OSError, ValueError) as error:
        raise DecodeError(str(error)) from error


DECODERS = (Decoder("libsndfile", _open_sound_file), Decoder("FFmpeg", _open_with_ffmpeg))
"""In the order in which they are tried"""


@contextmanager
def _container(audio: AudioFile) -> Iterator[Any]:
    import av

    options = {"protocol_whitelist": "file"}  # a playlist must not open the network
    if isinstance(audio, ByteRange | InMemory):
        with _raw_file(audio) as file, av.open(file, options=options) as container:
            yield container
    else:
        # Without "file:" FFmpeg reads a name with a colon as a protocol.
        with av.open(f"file:{os.fspath(audio)}", options=options) as container:
            yield container


@contextmanager
def _raw_file(audio: AudioFile) -> Iterator[FileIO | _Window | BytesIO]:
    if isinstance(audio, InMemory):
        yield BytesIO(audio.content)
    elif isinstance(audio, ByteRange):
        with FileIO(audio.path) as file:
            yield _Window(file, audio.offset, audio.size)
    else:
        with FileIO(audio) as file:
            yield file


class _Window(RawIOBase):
    """A range of bytes of an open file, as a file."""

    def __init__(self, file: FileIO, offset: int, size: int) -> None:
        self._file, self._offset, self._size = file, offset, size
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = SEEK_SET) -> int:
        self._position = max(
            0, offset + {SEEK_SET: 0, SEEK_CUR: self._position, SEEK_END: self._size}[whence]
        )
        return self._position

    def readinto(self, buffer: Any) -> int:
        wanted = memoryview(buffer)[: max(0, self._size - self._position)]
        self._file.seek(self._offset + self._position)
        count = self._file.readinto(wanted)
        self._position += count
        return count
