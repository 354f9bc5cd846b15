"""Audio files as an application names them, and how they are opened."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from io import SEEK_CUR, SEEK_END, SEEK_SET, BytesIO, FileIO, RawIOBase
from typing import Any, NamedTuple, TypeAlias

from vprtrain.files import StrPath


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


class Window(RawIOBase):
    """A range of bytes of an open file, as a file without a name.

    Decoders guess formats from names, and FFmpeg opens files beside a file whose name it knows.
    """

    def __init__(self, file: FileIO | BytesIO, offset: int, size: int) -> None:
        self._file, self._offset, self.size = file, offset, size
        self._position = 0

    def identity(self) -> tuple[int, ...] | None:
        """What distinguishes these bytes from others, unless they are in memory."""
        if isinstance(self._file, BytesIO):
            return None
        status = os.fstat(self._file.fileno())
        return status.st_dev, status.st_ino, status.st_mtime_ns, self._offset, self.size

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = SEEK_SET) -> int:
        self._position = max(
            0, offset + {SEEK_SET: 0, SEEK_CUR: self._position, SEEK_END: self.size}[whence]
        )
        return self._position

    def readinto(self, buffer: Any) -> int:
        wanted = memoryview(buffer)[: max(0, self.size - self._position)]
        self._file.seek(self._offset + self._position)
        count = self._file.readinto(wanted)
        self._position += count
        return count


RawFile: TypeAlias = FileIO | BytesIO | Window


@contextmanager
def open_raw(audio: AudioFile) -> Iterator[RawFile]:
    """The bytes of an audio file, as an open file."""
    if isinstance(audio, InMemory):
        yield BytesIO(audio.content)
    elif isinstance(audio, ByteRange):
        with FileIO(audio.path) as file:
            yield Window(file, audio.offset, audio.size)
    else:
        with FileIO(audio) as file:
            yield file


@contextmanager
def open_nameless(audio: AudioFile) -> Iterator[Window]:
    """The same as a file without a name."""
    with open_raw(audio) as file:
        yield file if isinstance(file, Window) else Window(file, 0, file.seek(0, SEEK_END))
