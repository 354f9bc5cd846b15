"""What callbacks that write logs share: a log that cannot be written ends the run, in one line."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from vprtrain.errors import RunError


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Say which file could not be written.

    Raises:
        RunError: in place of an OSError inside.
    """
    try:
        yield
    except OSError as error:
        raise RunError(
            f"{path} could not be written ({error.strerror or error}); the checkpoints are intact: make room or mend "
            "the disk, then run the same command again"
        ) from error
