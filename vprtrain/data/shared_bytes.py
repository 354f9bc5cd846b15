"""Memory that two processes share, for large replies: no system call copies them."""

from __future__ import annotations

import mmap
import os

_HEADER = mmap.PAGESIZE


class SharedBytes:
    """Bytes that one process writes and another one reads, and a counter.

    The processes agree by messages on a pipe when the bytes may be read and when they may be
    overwritten. The memory grows with what is written, and lives as long as one of the processes
    uses it.

    Args:
        descriptor: of the memory of the other process; ``None`` makes a new memory.
    """

    def __init__(self, descriptor: int | None = None) -> None:
        if descriptor is None:
            descriptor = os.memfd_create("vprtrain-worker")
            os.ftruncate(descriptor, _HEADER)
        self.descriptor = descriptor
        self._map()
        self._end = _HEADER

    def _map(self) -> None:
        self._bytes = memoryview(mmap.mmap(self.descriptor, 0))  # 0: all of it

    @property
    def counter(self) -> int:
        """A number from 0 to 255 that both processes may read and set at any time."""
        return self._bytes[0]

    @counter.setter
    def counter(self, value: int) -> None:
        self._bytes[0] = value

    def clear(self) -> None:
        """Begin to write at the start again."""
        self._end = _HEADER

    def append(self, data: memoryview) -> tuple[int, int]:
        """Write bytes after the earlier ones.

        Returns:
            Where they are: the arguments of :meth:`read` in the other process.
        """
        start, self._end = self._end, self._end + data.nbytes
        if self._end > len(self._bytes):
            os.ftruncate(self.descriptor, 2 * self._end)
            self._map()
        self._bytes[start : self._end] = data
        return start, data.nbytes

    def read(self, start: int, size: int) -> bytearray:
        """A copy of bytes that the other process wrote."""
        if start + size > len(self._bytes):  # the other process has made it larger
            self._map()
        return bytearray(self._bytes[start : start + size])

    def close(self) -> None:
        """Close the descriptor. What is mapped stays until the object is gone."""
        os.close(self.descriptor)
