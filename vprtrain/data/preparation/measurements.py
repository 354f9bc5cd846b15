"""The measurements of recordings, kept in a file for the next run."""

from __future__ import annotations

import errno
import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from vprtrain.errors import UsageError
from vprtrain.files import open_file

_MOST_BYTES = 1 << 30  # of about eight million recordings
_MOST_LINE = 1 << 16  # bytes; a path has at most 4096
# How a recording was measured. 0.1 wrote 0 and 1 here; its durations may be guesses from the bit
# rate, or those of a part, and are not used.
_HOW = {"measured": False, "decoded": True}


class Measurement(NamedTuple):
    """The measurement of a file, and the state of the file then."""

    size: int
    modified: int
    """The time of modification in nanoseconds"""
    decoded: bool
    """True if the whole file was decoded and checked"""
    seconds: float

    def line(self, path: str) -> str:
        """The line of the file that keeps this measurement."""
        how = "decoded" if self.decoded else "measured"
        return f"{path}\t{self.size}\t{self.modified}\t{how}\t{self.seconds!r}\n"


def read_measurements(memory: Path) -> Iterator[tuple[str, Measurement]]:
    """The paths and measurements in a file. Damaged lines are skipped, such as the last line of a
    killed run: their recordings are measured again.

    Raises:
        UsageError: the path is not a regular file, is too large or cannot be read.
    """
    try:
        with open_file(memory) as file:
            if (size := os.fstat(file.fileno()).st_size) > _MOST_BYTES:
                raise OSError(errno.EFBIG, f"it has {size} bytes, expected at most {_MOST_BYTES}")
            while line := file.readline(_MOST_LINE):
                if line.endswith(b"\n") and (found := _parse(line[:-1])):
                    yield found
    except FileNotFoundError:
        return
    except OSError as error:
        raise UsageError(
            f"{memory}: {error.strerror}; expected the measurements of an earlier run; delete it"
        ) from error


def _parse(line: bytes) -> tuple[str, Measurement] | None:
    try:
        path, size, modified, how, seconds = line.decode(errors="replace").split("\t")
        found = Measurement(int(size), int(modified), _HOW[how], float(seconds))
    except (ValueError, KeyError):
        return None
    return (path, found) if 0 < found.seconds < math.inf else None
