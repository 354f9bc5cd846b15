"""Uncompressed files and FLAC, read by libsndfile: it finds a part without decoding what is before.

libsndfile also reads MP3 and Ogg, but stops at the length that it guesses from the header, so these
are left to FFmpeg.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from io import SEEK_CUR, SEEK_END, FileIO

import numpy as np
import soundfile

from vprtrain.data.audio.files import AudioFile, RawFile, open_raw
from vprtrain.data.audio.flac_frames import ends_with_sample, starts_again
from vprtrain.data.audio.pcm_wave import HEADER_BYTES, UNKNOWN_LENGTH, DataChunk, PcmWave
from vprtrain.data.audio.track import (
    BLOCK_SAMPLES,
    TOLERANCE,
    Channel,
    Damage,
    DecodeError,
    Track,
    select,
)

_INT16_SCALE = np.float32(2.0**-15)
_SIGNATURES = (
    *(b"RIFF", b"RIFX", b"RF64", b"riff", b"FORM", b".snd", b"dns.", b"caff", b"fLaC", b"NIST"),
)
"""The first four bytes of WAV, RF64, W64, AIFF, AU, CAF, FLAC and NIST files"""


@contextmanager
def open_sound_file(audio: AudioFile) -> Iterator[Track]:
    try:
        with open_raw(audio) as file:
            header = file.read(HEADER_BYTES) or b""
            if not header.startswith(_SIGNATURES):
                raise DecodeError("not WAV, AIFF, AU, CAF, W64, NIST or FLAC")
            size = file.seek(0, SEEK_END)
            chunk = DataChunk.find(header)
            wave = PcmWave.recognise(file, size, chunk)
            if wave is not None:
                yield _PcmWaveTrack(wave)
                return
            file.seek(0)
            # By descriptor, because soundfile and libsndfile guess some formats from the name.
            content = file.fileno() if isinstance(file, FileIO) else file
            with soundfile.SoundFile(content, closefd=False) as sound:
                yield _SoundFileTrack(sound, file, _missing_share(header, size, chunk))
    except soundfile.LibsndfileError as error:
        raise DecodeError(error.error_string) from error
    except (soundfile.SoundFileError, OSError) as error:
        raise DecodeError(str(error)) from error


def _missing_share(header: bytes, size: int, chunk: DataChunk | None) -> float:
    """The share of its samples that a file of ``size`` bytes lacks, by the sizes in its header."""
    if chunk is not None:
        return chunk.missing_share(size)
    whole = 0
    match header[:4]:
        case b"FORM":
            whole = int.from_bytes(header[4:8], "big") + 8
        case b".snd":
            whole = int.from_bytes(header[4:8], "big") + int.from_bytes(header[8:12], "big")
        case b"riff":
            whole = int.from_bytes(header[16:24], "little")
        case b"RF64":
            whole = int.from_bytes(header[20:28], "little") + 8
    return 1 - size / whole if size < whole < UNKNOWN_LENGTH else 0.0


class _PcmWaveTrack(Track):
    def __init__(self, wave: PcmWave) -> None:
        self._wave = wave
        self.rate, self.channels = wave.rate, wave.channels

    def length(self) -> int:
        return self._wave.frames

    def blocks(self, first: int, count: int | None, channel: Channel) -> Iterator[np.ndarray]:
        block = max(1, BLOCK_SAMPLES // self.channels)
        end = self._wave.frames if count is None else min(first + count, self._wave.frames)
        for place in range(first, end, block):
            samples = self._wave.read(place, min(block, end - place))
            if channel == "mix":
                yield select(samples * _INT16_SCALE, channel)
            else:
                yield samples[:, channel] * _INT16_SCALE


class _SoundFileTrack(Track):
    """A track of libsndfile, with exact seeking."""

    def __init__(self, sound: soundfile.SoundFile, file: RawFile, missing_share: float) -> None:
        self._sound, self._file, self._missing_share = sound, file, missing_share
        self.rate, self.channels = sound.samplerate, sound.channels
        self._frames: int = sound.frames
        if self._frames >= 1 << 62:
            raise DecodeError("the header has no length")

    def length(self) -> int:
        if self._sound.format == "FLAC":
            place = self._file.seek(0, SEEK_CUR)
            found = ends_with_sample(self._file)
            self._file.seek(place)
            self._require_length(found)
        return self._frames

    def blocks(self, first: int, count: int | None, channel: Channel) -> Iterator[np.ndarray]:
        block = max(1, BLOCK_SAMPLES // self.channels)
        self._sound.seek(min(first, self._frames))
        missing = self._frames - first if count is None else count
        while missing > 0:
            samples = self._sound.read(min(block, missing), dtype="float32", always_2d=True)
            if not len(samples):
                break
            missing -= len(samples)
            yield select(samples, channel)
        if count is None or first + count > self._frames:
            self._finish()

    def _finish(self) -> None:
        """Look at what is after the last sample that libsndfile gives."""
        if self._sound.format == "FLAC":
            self._require_length(ends_with_sample(self._file))
            if starts_again(self._file):
                raise DecodeError("several FLAC files in one")
        elif self._missing_share and self._frames:
            lost = self._frames / (1 - self._missing_share) - self._frames
            if lost > TOLERANCE * self.rate:
                self.damage = Damage(missing=lost / self.rate)

    def _require_length(self, found: int | None) -> None:
        if found != self._frames:
            raise DecodeError(
                f"the header says {self._frames} samples, the last frame ends with {found}"
            )
