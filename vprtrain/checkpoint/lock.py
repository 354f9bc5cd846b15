"""The lock of a run directory: at any time one process writes there.

As a rule it is an ``flock`` on the file ``.lock``, which the system releases when the process ends.
Some network file systems have no such locks. There a file ``.lock-heartbeat`` names the writer,
whose process touches it every :data:`HEARTBEAT` seconds; a file that is not touched for three times
as long is abandoned.
"""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import socket
import threading
import time
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Protocol, TextIO
from uuid import uuid4

from vprtrain import files
from vprtrain.errors import UsageError

LOCK_FILE = ".lock"
HEARTBEAT_FILE = ".lock-heartbeat"
HEARTBEAT = 5.0
"""Seconds."""

_WITHOUT_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP}

log = logging.getLogger(__name__)


class Lock(Protocol):
    """A lock that was taken."""

    def is_held(self) -> bool:
        """Whether it still protects the folder: nobody renamed, deleted or replaced it."""


@contextmanager
def locked(folder: Path) -> Iterator[Lock]:
    """A context in which this process is the folder's only writer. The folder is made if needed.

    Processes that are forked inside do not share the lock.

    Raises:
        UsageError: another process writes here, or the folder cannot be written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = open(folder / LOCK_FILE, "a+", opener=files.open_no_link)  # noqa: SIM115 - open as long as the context
    except OSError as error:
        raise _unusable(folder, error) from error
    with file:
        _locked.add(file)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            raise _in_use(folder, file.read()) from None
        except OSError as error:
            if error.errno not in _WITHOUT_LOCKS:
                raise _unusable(folder, error) from error
            log.warning(
                "%s is on a file system without locks (%s): %s marks it as in use instead",
                folder,
                error.strerror,
                HEARTBEAT_FILE,
            )
            with _heartbeat(folder) as lock:
                yield lock
            return
        _refuse_heartbeat(folder)
        file.truncate(0)
        file.write(_this_process())
        file.flush()
        yield _FileLock(folder / LOCK_FILE, file)


class _FileLock:
    def __init__(self, path: Path, file: TextIO) -> None:
        self._path, self._file = path, file

    def is_held(self) -> bool:
        try:
            return os.path.samestat(os.fstat(self._file.fileno()), os.stat(self._path))
        except OSError:
            return False


class _HeartbeatLock:
    def __init__(self, path: Path) -> None:
        self._path = path
        self._owner = f"{_this_process()}\n{uuid4().hex}\n{_process_numbers()}"
        self._process = os.getpid()
        self._released = threading.Event()

    def is_held(self) -> bool:
        return _read(self._path) == self._owner

    def take(self) -> bool:
        """Take the lock if nobody has it."""
        try:
            with open(self._path, "x") as file:
                try:
                    file.write(self._owner)
                    file.flush()
                except BaseException:
                    self._path.unlink(missing_ok=True)
                    raise
        except FileExistsError:
            return False
        threading.Thread(target=self._beat, name="run-lock-heartbeat", daemon=True).start()
        return True

    def release(self) -> None:
        """Remove the file. In a forked process this does nothing."""
        if os.getpid() == self._process:
            self._released.set()
            if self.is_held():
                self._path.unlink(missing_ok=True)

    def _beat(self) -> None:
        while not self._released.wait(HEARTBEAT):
            with suppress(OSError):  # a network file system may be away for a moment
                if self.is_held():
                    os.utime(self._path)


@contextmanager
def _heartbeat(folder: Path) -> Iterator[Lock]:
    path = folder / HEARTBEAT_FILE
    lock = _HeartbeatLock(path)
    try:
        if not lock.take():
            _refuse_heartbeat(folder)
            if not lock.take():
                raise _in_use(folder, _read(path))
    except OSError as error:
        raise _unusable(folder, error) from error
    try:
        yield lock
    finally:
        lock.release()


def _refuse_heartbeat(folder: Path) -> None:
    """Refuse a folder whose heartbeat goes on, and remove an abandoned heartbeat file.

    Raises:
        UsageError: another process writes here.
    """
    path = folder / HEARTBEAT_FILE
    if not os.path.lexists(path):
        return
    owner = _read(path)  # empty if the writer was killed, or its disk was full, in the first moment
    if not _is_abandoned(path, owner) or _read(path) != owner:
        raise _in_use(folder, owner)
    path.unlink(missing_ok=True)
    log.warning("%s was left behind by %s, and is removed", path, _name(owner))


def _is_abandoned(path: Path, owner: str) -> bool:
    """Whether the owner has ended, or has not touched the file for three heartbeats.

    The clocks of two machines may differ, so the file is watched for that long.
    """
    process = owner.removeprefix("process ").partition(" on ")[0]
    if owner.endswith(f"\n{_process_numbers()}") and process.isascii() and process.isdigit():
        try:
            os.kill(int(process), 0)
        except ProcessLookupError:
            return True
        except (PermissionError, OverflowError):
            pass
    touched = _touched(path)
    ends = time.monotonic() + 3 * HEARTBEAT
    while time.monotonic() < ends:
        if _touched(path) != touched:
            return False
        time.sleep(HEARTBEAT / 10)
    return True


def _touched(path: Path) -> int | None:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return None


def _read(path: Path) -> str:
    try:
        return path.read_text(errors="replace")[:1000]
    except OSError:
        return ""


def _this_process() -> str:
    return f"process {os.getpid()} on {socket.gethostname()}"


def _process_numbers() -> str:
    """What identifies the space of this process's number: containers on one machine, which may
    have the same host name, have different ones. Random where the system does not tell."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return uuid4().hex


def _name(owner: str) -> str:
    return owner.partition("\n")[0].strip() or "another process"


def _in_use(folder: Path, owner: str) -> UsageError:
    return UsageError(
        f"{folder} is in use by {_name(owner)}: wait for it, stop it, or choose another save_dir"
    )


def _unusable(folder: Path, error: OSError) -> UsageError:
    return UsageError(f"{folder} cannot be written to ({error.strerror}): choose another save_dir")


_locked: weakref.WeakSet[TextIO] = weakref.WeakSet()


def _close_in_child() -> None:
    """A forked process that lives longer than this one must not keep the lock."""
    for file in _locked:
        file.close()


os.register_at_fork(after_in_child=_close_in_child)
