"""Plain 16-bit WAV files. They are the most common ones; reading a few seconds here takes a third
of libsndfile's time."""

from __future__ import annotations

import struct
from io import BytesIO, RawIOBase
from typing import NamedTuple

import numpy as np

_HEADER_BYTES = 4096  # the samples must begin within these
_PCM = 1


class PcmWave(NamedTuple):
    """The position of the samples in an open file."""

    file: RawIOBase | BytesIO
    first_byte: int
    frames: int
    channels: int
    rate: int

    @classmethod
    def recognise(cls, file: RawIOBase | BytesIO, size: int) -> PcmWave | None:
        """The samples of a RIFF WAVE file with 16-bit PCM and a consistent header.

        Returns:
            ``None`` for any other or unusual file, which the general decoders read.
        """
        file.seek(0)
        header = file.read(_HEADER_BYTES) or b""
        if header[:4] != b"RIFF" or header[8:12] != b"WAVE":
            return None
        place, form = 12, None
        while place + 8 <= len(header):
            name, length = struct.unpack_from("<4sI", header, place)
            place += 8
            if name == b"fmt " and length >= 16 and place + 16 <= len(header):
                form = struct.unpack_from("<HHIIHH", header, place)
            elif name == b"data":
                return cls._of(file, size, form, place, length)
            place += length + length % 2
        return None

    @classmethod
    def _of(
        cls,
        file: RawIOBase | BytesIO,
        size: int,
        form: tuple[int, ...] | None,
        first_byte: int,
        length: int,
    ) -> PcmWave | None:
        if form is None:
            return None
        tag, channels, rate, _, frame_bytes, bits = form
        if (tag, bits, frame_bytes) != (_PCM, 16, 2 * channels) or 0 in (channels, rate, length):
            return None
        if length % frame_bytes or first_byte + length > size:
            return None
        return cls(file, first_byte, length // frame_bytes, channels, rate)

    def read(self, first: int, count: int) -> np.ndarray:
        """int16 ``[count, channels]`` from frame ``first`` on; fewer frames at the end."""
        count = max(0, min(count, self.frames - first))
        samples = np.empty((count, self.channels), dtype="<i2")
        self.file.seek(self.first_byte + first * 2 * self.channels)
        unread = samples.reshape(-1).view(np.uint8).data
        while len(unread):
            got = self.file.readinto(unread)
            if not got:
                raise OSError("the file ends before its last sample")
            unread = unread[got:]
        return samples
