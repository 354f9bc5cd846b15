"""Plain 16-bit WAV files. They are the most common ones; reading a few seconds here takes a third
of libsndfile's time."""

from __future__ import annotations

import struct
from io import BytesIO, RawIOBase
from typing import NamedTuple

import numpy as np

HEADER_BYTES = 4096
"""The samples must begin within these."""
_PCM = 1
UNKNOWN_LENGTH = 0x7FFF0000
"""A program that writes to a pipe cannot know the length, and names one from here on."""


class DataChunk(NamedTuple):
    """The chunk with the samples of a RIFF WAVE file, by its header."""

    form: tuple[int, ...] | None
    """The tag, channels, rate, bytes a second, bytes of a frame and bits of a sample"""
    first_byte: int
    length: int
    """In bytes"""

    @classmethod
    def find(cls, header: bytes) -> DataChunk | None:
        """The chunk, by the first bytes of a file.

        Returns:
            ``None`` if the file is not RIFF WAVE, or the chunk begins after these bytes.
        """
        if header[:4] != b"RIFF" or header[8:12] != b"WAVE":
            return None
        place, form = 12, None
        while place + 8 <= len(header):
            name, length = struct.unpack_from("<4sI", header, place)
            place += 8
            if name == b"fmt " and length >= 16 and place + 16 <= len(header):
                form = struct.unpack_from("<HHIIHH", header, place)
            elif name == b"data":
                return cls(form, place, length)
            place += length + length % 2
        return None

    def missing_share(self, size: int) -> float:
        """The share of the chunk that a file of ``size`` bytes lacks; 0 if nobody knows."""
        if not 0 < self.length < UNKNOWN_LENGTH:
            return 0.0
        return max(0.0, 1 - (size - self.first_byte) / self.length)


class PcmWave(NamedTuple):
    """The position of the samples in an open file."""

    file: RawIOBase | BytesIO
    first_byte: int
    frames: int
    channels: int
    rate: int

    @classmethod
    def recognise(
        cls, file: RawIOBase | BytesIO, size: int, chunk: DataChunk | None
    ) -> PcmWave | None:
        """The samples of a RIFF WAVE file with 16-bit PCM and a consistent header.

        Args:
            file: an open file.
            size: in bytes.
            chunk: its chunk of samples.

        Returns:
            ``None`` for any other or unusual file, which the general decoders read.
        """
        if chunk is None or chunk.form is None:
            return None
        tag, channels, rate, _, frame_bytes, bits = chunk.form
        if (tag, bits, frame_bytes) != (_PCM, 16, 2 * channels) or 0 in (channels, rate):
            return None
        if not chunk.length or chunk.length % frame_bytes or chunk.first_byte + chunk.length > size:
            return None
        return cls(file, chunk.first_byte, chunk.length // frame_bytes, channels, rate)

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
