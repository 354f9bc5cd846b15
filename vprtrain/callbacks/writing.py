"""Shared by callbacks that write logs: a file that a run appends to, and failures in one line."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from vprtrain.errors import RunError
from vprtrain.files import free_name, open_no_link

log = logging.getLogger(__name__)


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Name the file that could not be written.

    Raises:
        RunError: instead of an OSError inside the context.
    """
    try:
        yield
    except OSError as error:
        raise RunError(
            f"{path} could not be written ({error.strerror or error}); the checkpoints are intact: "
            "free disk space or repair the disk, then run the same command again"
        ) from error


class LogFile:
    """A log that a run appends to. Readers see each entry at once.

    Args:
        path: an existing file is cut to ``keep`` bytes.
        keep: ``None`` for a new run: an earlier run's file is renamed.

    Raises:
        RunError: from every method, if the file cannot be written.
    """

    def __init__(self, path: Path, *, keep: int | None) -> None:
        self._path = path
        with writing(path):
            if keep is None and path.exists() and path.stat().st_size > 0:
                aside = path.rename(free_name(path, ".aside"))
                log.warning("%s was of an earlier run: kept as %s", path, aside.name)
            self._file = open(path, "ab", buffering=0, opener=open_no_link)  # noqa: SIM115 - closed in close
            size = path.stat().st_size
            if size < (keep or 0):
                log.warning(
                    "%s has %d bytes, fewer than when the checkpoint was taken (%d)",
                    path,
                    size,
                    keep,
                )
            self._file.truncate(min(size, keep or 0))
            self._file.seek(0, os.SEEK_END)

    def append(self, data: bytes) -> None:
        """Write at the end."""
        with writing(self._path):
            written = self._file.write(data)
            while written < len(data):  # on a nearly full disk the next call raises
                written += self._file.write(data[written:])

    def sync(self) -> int:
        """Wait until everything is on the disk, and return the length in bytes."""
        with writing(self._path):
            os.fsync(self._file.fileno())
        return self._file.tell()

    def close(self) -> None:
        """Close the file; there is nothing left to write."""
        self._file.close()
