"""Everything else, read by FFmpeg: MP3, Ogg, AAC, WMA, the sound of videos and more.

FFmpeg sees only the bytes of the file: it opens no other file, and playlists are not among its
formats here.
"""

from __future__ import annotations

import ctypes
import errno
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from functools import cache
from itertools import chain
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from vprtrain.data.audio.announced import is_chained, mp3_frames
from vprtrain.data.audio.conversion import Conversion
from vprtrain.data.audio.files import AudioFile, Window, open_nameless
from vprtrain.data.audio.track import TOLERANCE, Channel, Damage, DecodeError, Track

FORMATS = (
    "aac,ac3,aiff,amr,amrnb,amrwb,ape,asf,au,avi,caf,dsf,dts,dtshd,eac3,flac,flv,iff,ilbc,ircam,"
    "loas,matroska,mlp,mov,mp3,mpc,mpc8,mpeg,mpegts,mxf,nistsphere,nut,ogg,oma,qcp,rm,shn,sox,spdif,"
    "tak,truehd,tta,voc,w64,wav,webm,wsd,wtv,wv,xwma"
)
"""The demuxers that are used: formats that hold the sound themselves, and no playlists"""

# Their times are exact, so that a part is found by seeking. In the others times are rounded or
# estimated, so that reading decodes from the beginning.
_EXACT_TIMES = {"aac", "amr", "mov,mp4,m4a,3gp,3g2,mj2", "mp3", "ogg", "wv"}
_FAR = 1 << 48  # a time after the end of every recording
# Seconds that are decoded and dropped after a seek, because a frame depends on those before it.
_PRE_ROLL = 0.5
# Samples at the beginning and end of MP3 and MP4 that the header may count and the decoder drops:
# the encoder's delay and padding.
_PADDING = 3 * 1152
_MOST_ALLOCATED = 256 << 20  # bytes at once; sound and its tables need far less
_MOST_SKIPPED = 0.2  # the share of undecodable packets above which a recording is refused


@contextmanager
def open_with_ffmpeg(audio: AudioFile) -> Iterator[Track]:
    import av  # takes 0.1 s, so it is imported only for files that libsndfile cannot read

    _limit_allocations()
    options = {
        "format_whitelist": FORMATS,
        "codec_whitelist": _audio_codecs(),
        "protocol_whitelist": "none",  # a format that opens files by itself cannot
    }
    try:
        with (
            open_nameless(audio) as file,
            av.open(
                file, "r", options=options, metadata_errors="ignore", io_open=_refuse
            ) as container,
        ):
            streams = [each for each in container.streams.audio if each.codec_context is not None]
            if not streams:
                raise DecodeError("no audio track that can be decoded")
            yield _FFmpegTrack(file, container, streams[0])
    except av.FFmpegError as error:
        not_let_through = error.errno == errno.EINVAL
        reason = "a playlist, or not a format that is read" if not_let_through else error.strerror
        raise DecodeError(reason) from error
    except (OSError, ValueError) as error:
        raise DecodeError(str(error)) from error


@cache
def _limit_allocations() -> None:
    """Limit each allocation of FFmpeg in this process: a header of a few bytes can ask for
    gigabytes of tables. Only the FFmpeg of PyAV's wheels is limited."""
    import av

    package = Path(av.__file__).parent
    for folder in (package.with_name("av.libs"), package / ".dylibs"):
        for library in folder.glob("libavutil*"):
            ctypes.CDLL(str(library)).av_max_alloc(ctypes.c_size_t(_MOST_ALLOCATED))


def _refuse(url: str, flags: int, options: object) -> NoReturn:
    raise DecodeError("it refers to another file")


@cache
def _audio_codecs() -> str:
    """The decoders of sound, by name. A cover picture of 1 MB can take 1 GB to decode."""
    import av

    def is_audio(name: str) -> bool:
        try:
            return bool(av.Codec(name, "r").type == "audio")
        except av.codec.codec.UnknownCodecError:  # an encoder
            return False

    return ",".join(filter(is_audio, sorted(av.codecs_available)))


class _FFmpegTrack(Track):
    def __init__(self, file: Window, container: Any, stream: Any) -> None:
        self._file, self._container, self._stream = file, container, stream
        self._packets = self._skipped = 0
        self._broken = False
        frames = self._decoded()
        head = next(frames, None)
        if head is None:
            raise DecodeError("no samples that can be decoded")
        self._start = head.pts
        self._frames: Iterator[Any] = chain([head], frames)
        self._position = 0
        self._conversion = Conversion(head)
        self.rate, self.channels = self._conversion.rate, self._conversion.channels
        self._format = container.format.name
        self._ticks = self._ticks_per_sample()

    def _ticks_per_sample(self) -> int | None:
        """The stream's units of time in a sample; ``None`` if reading has to begin at the start."""
        if self._format not in _EXACT_TIMES or self._start is None or not self._stream.time_base:
            return None
        if self._format == "ogg" and is_chained(self._file):  # the time begins anew
            return None
        ticks = 1 / (Fraction(self._stream.time_base) * self.rate)
        return int(ticks) if ticks.denominator == 1 else None

    def length(self) -> int:
        announced = self._announced()
        if self._format.startswith("mov") and announced:
            return announced
        return self._end() or super().length()

    def blocks(self, first: int, count: int | None, channel: Channel) -> Iterator[np.ndarray]:
        end = float("inf") if count is None else first + count
        frames, position = self._frames_from(first - round(_PRE_ROLL * self.rate))
        for samples in self._conversion.convert(frames, channel):
            part = samples[
                max(0, first - position) : max(0, int(min(end - position, len(samples))))
            ]
            if len(part):
                yield part
            position += len(samples)
            if position >= end:
                return self._note_damage(0)
        self._note_damage((self._announced() or 0) - position)

    def _note_damage(self, missing: int) -> None:
        if self._skipped > max(1, _MOST_SKIPPED * self._packets):
            raise DecodeError(f"{self._skipped} of {self._packets} packets cannot be decoded")
        expected = TOLERANCE * self.rate + (0 if self._format == "flac" else _PADDING)
        self.damage = Damage(
            self._skipped,
            self._packets if self._skipped else 0,
            missing / self.rate if missing > expected else 0.0,
            self._broken,
        )

    def _frames_from(self, target: int) -> tuple[Iterator[Any], int]:
        """Frames from position ``target`` or earlier, and the position of the first frame.

        It is below 0 after a seek to samples that the decoder drops when it begins there.
        """
        if target <= 0 or self._ticks is None:
            return self._frames, self._position
        frames, position = self._sought(self._start + target * self._ticks)
        return (frames, position) if position <= target else self._sought(self._start)

    def _sought(self, time: int) -> tuple[Iterator[Any], int]:
        """Frames from a time on or shortly before, and the position of the first frame."""
        import av

        try:
            self._container.seek(time, stream=self._stream)
        except av.FFmpegError:  # reading goes on where it is
            return self._frames, self._position
        frames = self._decoded()
        landed = next(frames, None)
        if landed is None or landed.pts is None:
            return frames, _FAR
        return chain([landed], frames), (landed.pts - self._start) // self._ticks

    def _end(self) -> int | None:
        """The position after the last sample, by its time; ``None`` if the times are not exact."""
        if self._ticks is None:
            return None
        frames, position = self._sought(_FAR)
        samples = sum(frame.samples for frame in frames if frame.sample_rate == self.rate)
        self._frames, self._position = self._sought(self._start)
        return position + samples if samples else None

    def _announced(self) -> int | None:
        """The samples that the header names, if it counts them; bit rates only guess."""
        stream, seconds = self._stream, None
        if self._format == "mp3":
            frames = mp3_frames(self._file)
            return frames and frames * (1152 if self.rate >= 32000 else 576)
        counts = self._format == "flac" or (self._format.startswith("mov") and stream.frames)
        if counts and stream.duration and stream.time_base:
            seconds = stream.duration * Fraction(stream.time_base)
        return None if seconds is None else round(seconds * self.rate)

    def _decoded(self) -> Iterator[Any]:
        """Frames from the container's place on; packets that cannot be decoded are counted."""
        import av

        packets = self._container.demux(self._stream)
        while True:
            try:
                packet = next(packets, None)
            except IndexError:  # a stream that was not there before: PyAV fails at its packets
                packets = self._container.demux(self._stream)
                continue
            except av.FFmpegError:
                self._broken = True
                return
            if packet is None:
                return
            self._packets += packet.size > 0
            try:
                frames = packet.decode()
            except av.FFmpegError:
                self._skipped += 1
                continue
            yield from frames
