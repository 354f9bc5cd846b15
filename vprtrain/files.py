"""Files, folders and links on disk that survive a crash. Standard library only.

Every function leaves either the old content or the new content, never a mixture, even if the
process is killed at any moment.
"""

from __future__ import annotations

import errno
import hashlib
import json
import logging
import os
import shutil
import stat
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Thread
from typing import Any, BinaryIO

StrPath = str | os.PathLike[str]
"""The path of a file or folder, as callers may give it"""

POINTS = (
    *("before_write", "half_written", "after_write", "after_fsync"),
    *("before_rename", "after_rename", "before_link", "after_link", "before_prune", "half_removed"),
)
"""The kill points at which :data:`watch` is called."""

TEMPORARY = ".tmp-"
"""The prefix of the names of unfinished files and folders, which :func:`remove_leftovers`
removes."""

_WITHOUT_LINKS = {errno.EPERM, errno.ENOSYS, errno.EOPNOTSUPP}
_LONGEST_NAME = 255
_LARGE_PIECE = 1 << 20
"""Bytes that are hashed in a thread: to start one takes as long as 100 KB"""

log = logging.getLogger(__name__)

watch: Callable[[str], None] = lambda point: None  # noqa: E731 - tests replace it
"""Called with the kill point between two system calls; tests of crashes kill the process there."""


def path_from_here(path: StrPath) -> str:
    """A path for people: relative if it is in the working folder, else as it is."""
    relative = os.path.relpath(path)
    return os.fspath(path) if relative.startswith(os.pardir) else relative


def sha256(data: bytes) -> str:
    """The hexadecimal SHA-256 of some bytes."""
    return hashlib.sha256(data).hexdigest()


def file_sha256(path: StrPath) -> str:
    """The hexadecimal SHA-256 of a file's content, which is read in blocks."""
    with open(path, "rb") as file:
        return stream_sha256(file)


def stream_sha256(file: BinaryIO) -> str:
    """The hexadecimal SHA-256 of what is left of an open file, which is read in blocks."""
    digest = hashlib.sha256()
    while block := file.read(1 << 20):
        digest.update(block)
    return digest.hexdigest()


def open_file(path: StrPath, most: int | None = None) -> BinaryIO:
    """Open a file that may come from a stranger, for reading.

    Args:
        most: the most bytes that such a file may have.

    Raises:
        OSError: the path is not a regular file (opening a pipe would wait, and a device may have no
            end), the file is larger, or the system refuses. ``strerror`` is the reason.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    found = os.fstat(descriptor)
    too_large = most is not None and found.st_size > most
    if stat.S_ISREG(found.st_mode) and not too_large:
        return open(descriptor, "rb")
    os.close(descriptor)
    if too_large:
        raise OSError(errno.EFBIG, f"it has {found.st_size} bytes, expected at most {most}")
    if stat.S_ISDIR(found.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    raise OSError(errno.EINVAL, "not a file")


def open_no_link(path: str, flags: int) -> int:
    """An opener for :func:`open` that refuses a symbolic link: writing through one that a stranger
    made would change another file."""
    return os.open(path, flags | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)


def read_file(path: StrPath, most: int) -> bytes:
    """The bytes of a file that may come from a stranger.

    Args:
        most: the most bytes that such a file may have.

    Raises:
        OSError: as in :func:`open_file`.
    """
    with open_file(path, most) as file:
        return file.read(os.fstat(file.fileno()).st_size)


def parse_json(data: bytes, constant: Callable[[str], Any] | None = None) -> Any:
    """The value of a JSON text in UTF-8 that may come from a stranger.

    The value takes up to 25 times the memory of the text: the caller limits the size of the text.

    Args:
        constant: gives the value for ``NaN``, ``Infinity`` and ``-Infinity``, which are not JSON.
            With ``None`` they are refused.

    Raises:
        ValueError: the text is not JSON, is nested too deeply, or has a refused constant.
    """
    try:
        return json.loads(data, parse_constant=constant or _refuse_constant)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not a number in JSON")


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable. Without it, a crash can undo renames and new files."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class DigestingWriter:
    """Hashes what is written through it. A thread hashes a large piece while it is written and the
    next one is made.

    Args:
        file: gets the data; ``None`` for a digest alone.
    """

    def __init__(self, file: BinaryIO | None = None) -> None:
        self._file = file
        self._digest = hashlib.sha256()
        self._hashing = Thread()
        self._begun = False

    def write(self, data: bytes) -> int:
        """Write all of the data."""
        self._wait()
        if len(data) < _LARGE_PIECE:
            self._digest.update(data)
        else:
            self._hashing = Thread(target=self._digest.update, args=(data,), name="sha256")
            self._hashing.start()
        if self._file is not None:
            if self._begun:
                self._file.write(data)
            else:
                self._write_halves(self._file, memoryview(data))
        self._begun = True
        return len(data)

    @staticmethod
    def _write_halves(file: BinaryIO, data: memoryview) -> None:
        half = len(data) // 2
        file.write(data[:half])
        file.flush()
        watch("half_written")
        file.write(data[half:])

    def _wait(self) -> None:
        if self._hashing.is_alive():
            self._hashing.join()

    @property
    def sha256(self) -> str:
        """The hexadecimal digest so far."""
        self._wait()
        return self._digest.hexdigest()


Content = bytes | Callable[[DigestingWriter], None]
"""The content of a file: its bytes, or a function that writes them in pieces, which takes less
memory."""


def content_sha256(content: Content) -> str:
    """The hexadecimal SHA-256 of a file's content."""
    writer = DigestingWriter()
    _write(writer, content)
    return writer.sha256


def _write(writer: DigestingWriter, content: Content) -> None:
    if isinstance(content, bytes):
        writer.write(content)
    else:
        content(writer)


def write_synced(path: Path, content: Content) -> str:
    """Write a file and wait until it is on disk. A reader may see it half-written; see
    :func:`write_atomic`.

    Returns:
        The hexadecimal SHA-256 of the content.
    """
    watch("before_write")
    with open(path, "wb") as file:
        writer = DigestingWriter(file)
        _write(writer, content)
        file.flush()
        watch("after_write")
        os.fsync(file.fileno())
    watch("after_fsync")
    return writer.sha256


def reserve(path: Path, size: int) -> None:
    """Make a file of so many bytes, so that a full disk or a quota is found. What it holds is
    undefined.

    Raises:
        OSError: there is no room.
    """
    with open(path, "wb") as file:
        if size:
            os.posix_fallocate(file.fileno(), 0, size)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path to write to. It replaces ``path`` at the end of the context, and is removed
    after an exception."""
    temporary = path.with_name(f"{TEMPORARY}{path.name}")
    try:
        yield temporary
        with open(temporary, "rb+") as file:
            os.fsync(file.fileno())
        watch("before_rename")
        os.replace(temporary, path)
        watch("after_rename")
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def write_atomic(path: Path, data: bytes) -> None:
    """Replace a file's content in one step."""
    with replacing(path) as temporary:
        temporary.write_bytes(data)


@contextmanager
def new_folder(folder: Path) -> Iterator[Path]:
    """A temporary folder to write files to. At the end of the context it becomes ``folder``, which
    so appears with all its files or not at all.

    Raises:
        OSError: the system refused (disk full, no permission, the folder exists and is not empty).
            Nothing is left behind, except a complete folder if only its name could not be made
            durable.
    """
    temporary = folder.with_name(f"{TEMPORARY}{folder.name}")
    remove_tree(temporary)
    try:
        temporary.mkdir(parents=True)
        yield temporary
        sync_folder(temporary)
        watch("before_rename")
        os.rename(temporary, folder)
        watch("after_rename")
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    sync_folder(folder.parent)


def write_folder(folder: Path, files: Mapping[str, Content]) -> None:
    """Make a new folder with these files, as :func:`new_folder` does."""
    with new_folder(folder) as temporary:
        for name, content in files.items():
            write_synced(temporary / name, content)


def remove_tree(folder: Path) -> None:
    """Remove a folder. It is renamed first, so that a rest of it is never taken for the whole."""
    if not folder.exists():
        return
    doomed = folder.with_name(f"{TEMPORARY}removed-{folder.name.removeprefix(TEMPORARY)}")
    if folder != doomed:
        shutil.rmtree(doomed, ignore_errors=True)
        doomed = free_name(doomed, "-")
        os.rename(folder, doomed)
    watch("half_removed")
    shutil.rmtree(doomed)


def remove_leftovers(folder: Path) -> None:
    """Remove the unfinished files and folders that a killed process left in a folder. A warning
    names those that the system does not let go."""
    for path in folder.glob(f"{TEMPORARY}*"):
        with removing(path):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()


@contextmanager
def removing(path: Path) -> Iterator[None]:
    """Log a warning about a path that the system does not let go, instead of an OSError: NFS keeps
    files that are open, and so do virus scanners."""
    try:
        yield
    except OSError as error:
        log.warning("%s could not be removed, and is tried again later (%s)", path, error)


def free_name(path: Path, suffix: str) -> Path:
    """The path itself if nothing is there, or with ``suffix`` and the first free number."""
    free, number = path, 0
    while os.path.lexists(free):
        number += 1
        free = path.with_name(f"{path.name}{suffix}{number}")
    return free


def link_target(link: Path) -> str | None:
    """What a link of :func:`point_link` points at; ``None`` if there is no such link."""
    with suppress(OSError, ValueError):  # ValueError: a zero byte in the name
        return os.readlink(link)
    with suppress(OSError, ValueError):
        if link.is_file() and link.stat().st_size <= _LONGEST_NAME:
            name = link.read_text(encoding="utf-8").strip()
            return name if name == os.path.basename(name) and name not in ("", ".", "..") else None
    return None


def point_link(link: Path, target: str) -> None:
    """Point a relative symbolic link at ``target``. At every moment it points at the old or the new
    target.

    On a file system without symbolic links (exFAT, SMB) the link is a text file with the target's
    name.
    """
    if link_target(link) == target:
        return
    temporary = link.with_name(f"{TEMPORARY}{link.name}")
    temporary.unlink(missing_ok=True)
    watch("before_link")
    try:
        try:
            os.symlink(target, temporary)
        except OSError as error:
            if error.errno not in _WITHOUT_LINKS:
                raise
            temporary.write_text(target, encoding="utf-8")
        os.replace(temporary, link)
        watch("after_link")
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(link.parent)
