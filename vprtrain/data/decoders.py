"""The decoders behind :mod:`vprtrain.data.audio`: blocks of samples from a file, whatever its name says."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from math import ceil
from typing import Any, ClassVar, NamedTuple

import numpy as np
import soundfile

_BLOCK_SAMPLES = 1 << 16  # decoded at a time, over all channels: a lying header cannot make us allocate more


class DecodeError(Exception):
    """A decoder gets nothing out of a file; another one may."""


class Block(NamedTuple):
    """Consecutive samples of a recording's first channel."""

    rate: int
    samples: np.ndarray
    """float32 ``[samples]``"""


class Decoder(ABC):
    """One way to get samples out of a file. A file that it cannot read ends in a :class:`DecodeError`."""

    name: ClassVar[str]

    @abstractmethod
    def header_seconds(self, path: str) -> float | None:
        """How long the header says the recording is; ``None`` where it does not say."""

    @abstractmethod
    def blocks(self, path: str, start: float = 0.0, duration: float | None = None) -> Iterator[Block]:
        """The samples from ``start`` on for ``duration`` seconds, or a sample more; fewer where they end."""


class Libsndfile(Decoder):
    """WAV, FLAC, Ogg, Opus, MP3 and more, with exact seeking."""

    name = "libsndfile"

    def header_seconds(self, path: str) -> float | None:
        with _sound_file(path) as sound:
            return float(sound.frames / sound.samplerate)

    def blocks(self, path: str, start: float = 0.0, duration: float | None = None) -> Iterator[Block]:
        with _sound_file(path) as sound:
            rate, block = sound.samplerate, max(1, _BLOCK_SAMPLES // sound.channels)
            sound.seek(min(round(start * rate), sound.frames))
            missing = sound.frames if duration is None else ceil(duration * rate) + 1
            while missing > 0:
                samples = sound.read(min(block, missing), dtype="float32", always_2d=True)[:, 0]
                if not len(samples):
                    return
                missing -= len(samples)
                yield Block(rate, samples)


class FFmpeg(Decoder):
    """AAC, WMA, the sound of videos and more; decoded from the beginning, since its seeking is not exact."""

    name = "FFmpeg"

    def header_seconds(self, path: str) -> float | None:
        with _audio_stream(path) as stream:
            return float(stream.duration * stream.time_base) if stream.duration and stream.time_base else None

    def blocks(self, path: str, start: float = 0.0, duration: float | None = None) -> Iterator[Block]:
        import av

        with _audio_stream(path) as stream:
            to_float = av.AudioResampler(format="fltp")  # keeps the rate and the channels
            first = round(start * stream.rate)
            missing = float("inf") if duration is None else ceil(duration * stream.rate) + 1
            for frame in stream.container.decode(stream):
                for part in to_float.resample(frame):
                    samples = part.to_ndarray()[0]
                    skipped = min(first, len(samples))
                    first -= skipped
                    samples = samples[skipped : skipped + int(min(missing, len(samples)))]
                    missing -= len(samples)
                    yield Block(stream.rate, samples)
                if missing <= 0:
                    return


DECODERS: tuple[Decoder, ...] = (Libsndfile(), FFmpeg())
"""In the order in which they are tried."""


@contextmanager
def _sound_file(path: str) -> Iterator[soundfile.SoundFile]:
    try:
        # Through a descriptor, because soundfile and libsndfile guess some formats by the name.
        with (
            open(path, "rb", buffering=0) as file,
            soundfile.SoundFile(file.fileno(), closefd=False) as sound,
        ):
            yield sound
    except soundfile.LibsndfileError as error:
        raise DecodeError(error.error_string) from error
    except (soundfile.SoundFileError, OSError) as error:
        raise DecodeError(str(error)) from error


@contextmanager
def _audio_stream(path: str) -> Iterator[Any]:
    import av  # 0.1 s that only the files libsndfile cannot read are worth

    try:
        # "file:" keeps a name from being read as a protocol, the white list keeps playlists off the network.
        with av.open(f"file:{path}", options={"protocol_whitelist": "file"}) as container:
            if not container.streams.audio:
                raise DecodeError("no audio track")
            if not container.streams.audio[0].rate:
                raise DecodeError("no sample rate")
            yield container.streams.audio[0]
    except av.FFmpegError as error:
        raise DecodeError(error.strerror) from error
    except (OSError, ValueError) as error:
        raise DecodeError(str(error)) from error
