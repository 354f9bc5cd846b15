"""Shared by callbacks that write logs: a log that cannot be written ends the run with one line."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from vprtrain.errors import RunError


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
