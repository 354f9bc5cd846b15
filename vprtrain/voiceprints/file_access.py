"""The file of a database on its disk: who may read and write it, and whether it changed."""

from __future__ import annotations

import errno
import logging
import os
import stat
from contextlib import suppress
from pathlib import Path

from vprtrain.errors import UsageError
from vprtrain.files import open_file

_JOURNAL_MAGIC = bytes.fromhex("d9d505f920a163d7")

log = logging.getLogger(__name__)


def log_of(path: Path) -> Path:
    """SQLite's write-ahead log of a file."""
    return path.with_name(f"{path.name}-wal")


def size_of(path: Path) -> int:
    """The bytes of the file and of its log."""
    return sum(part.stat().st_size for part in (path, log_of(path)) if part.exists())


def status_of(path: Path) -> tuple[object, ...]:
    """What is different after a change: of the file, and whether it has a log."""
    try:
        found = path.stat()
    except OSError:
        return ()
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, log_of(path).exists()


def is_writable(path: Path) -> bool:
    """Whether the file and its folder can be written: SQLite makes its log beside the file."""
    places = [path.absolute().parent, *([path] if path.exists() else [])]
    return all(os.access(place, os.W_OK, effective_ids=True) for place in places)


def look_at_file(path: Path, *, make: bool) -> None:
    """Check that the path is a file that can be read.

    A file that exists is not opened here: closing it would end the locks that this process has on
    it by another connection.

    Args:
        make: make an empty file if there is none.

    Raises:
        UsageError: it is not a file, or cannot be made or read.
    """
    try:
        if make and not path.exists():
            with suppress(FileExistsError):  # another process was first
                os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
        if not stat.S_ISREG(path.stat().st_mode):
            raise UsageError(f"{path} is not a file: give a file for the voiceprints")
        _refuse_journal(path)
        if not os.access(path, os.R_OK, effective_ids=True):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    except (OSError, ValueError) as error:  # ValueError: the name has a null byte
        reason = error.strerror if isinstance(error, OSError) else error
        raise UsageError(f"{path} cannot be opened ({reason}): expected a database file") from error


def _refuse_journal(path: Path) -> None:
    """Refuse a rollback journal that could not be one of ours: SQLite would wait for a pipe, and
    deletes the file that a journal names as the super-journal of several databases.

    Raises:
        UsageError: there is such a journal.
    """
    journal = path.with_name(f"{path.name}-journal")
    try:
        if stat.S_ISREG(journal.lstat().st_mode):
            with open_file(journal) as file:
                file.seek(-min(len(_JOURNAL_MAGIC), os.fstat(file.fileno()).st_size), os.SEEK_END)
                if file.read() != _JOURNAL_MAGIC:
                    return
    except FileNotFoundError:  # there is none, or another process that made the tables is done
        return
    raise UsageError(f"{journal} is not a journal that vprtrain made: do not use {path}")


def protect(path: Path) -> None:
    """Take a file that every user of the machine can change from the others, if it is ours, and
    warn if others can still use it."""
    found = path.stat()
    mode = stat.S_IMODE(found.st_mode)
    if mode & stat.S_IWOTH and found.st_uid == os.geteuid():
        for part in (path, log_of(path), path.with_name(f"{path.name}-shm")):
            with suppress(OSError):  # no such part, or a disk without permissions
                part.chmod(0o600)
        if stat.S_IMODE(path.stat().st_mode) == 0o600:
            log.warning(
                "%s had the mode %03o: every user of this machine could change the voiceprints; "
                "its mode is 600 now",
                path,
                mode,
            )
            return
    if mode & (stat.S_IROTH | stat.S_IWOTH):
        log.warning(
            "%s has the mode %03o: every user of this machine can %s the voiceprints; "
            "chmod 600 leaves them to you",
            path,
            mode,
            "change" if mode & stat.S_IWOTH else "read",
        )
