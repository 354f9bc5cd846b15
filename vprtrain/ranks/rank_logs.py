"""The log files of the ranks of one machine, as ``vprtrain launch`` shows them."""

from __future__ import annotations

import logging
import os
import shutil
import sys
from contextlib import suppress
from pathlib import Path

from vprtrain.errors import printable
from vprtrain.ranks.rank_process import log_file

log = logging.getLogger(__name__)

_TAIL_LINES = 20
_TAIL_BYTES = 20_000
"""The most of a failed rank's log that is shown."""


class RankLogs:
    """The output of the ranks in one attempt. The files may begin with that of earlier attempts."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._sizes = {path: path.stat().st_size for path in folder.glob("rank_*.log")}
        self._shown = dict(self._sizes)

    def show(self, rank: int) -> None:
        """Copy a rank's output since the last call to standard output."""
        path = log_file(self._folder, rank)
        with suppress(FileNotFoundError), open(path, "rb") as file:
            file.seek(self._shown.get(path, 0))
            # Ctrl-C also ends a `tee` that reads this output, but the ranks still have to save.
            try:
                sys.stdout.flush()
                shutil.copyfileobj(file, sys.stdout.buffer)
                sys.stdout.buffer.flush()
            except BrokenPipeError:
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            self._shown[path] = file.tell()

    def tail(self, rank: int) -> str:
        """The last lines of a rank's output in this attempt, for a message."""
        path = log_file(self._folder, rank)
        return log_tail(path, self._sizes.get(path, 0))


def log_lines(text: str) -> None:
    """Log an error's description: its first line, and the others as a traceback is logged.

    It is one record, because the launcher may end this process between two.
    """
    message, _, details = text.rstrip().partition("\n")
    record = log.makeRecord(log.name, logging.ERROR, __file__, 0, "%s", (message,), None)
    record.exc_text = printable(details, keep="\n") or None
    log.handle(record)


def log_tail(path: Path, start: int = 0) -> str:
    """The last lines of a log for a message; empty without a log.

    Args:
        start: the byte offset of the first line to show.
    """
    with suppress(FileNotFoundError), open(path, "rb") as file:
        file.seek(max(start, path.stat().st_size - _TAIL_BYTES))
        lines = file.read().decode(errors="replace").splitlines()[-_TAIL_LINES:]
        return "".join([f"; {path.name} ends with", *(f"\n  {line}" for line in lines)])
    return ""
