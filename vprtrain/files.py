"""Bytes on disk that survive a crash: whole files, whole folders, links. Standard library only.

Every function leaves the old content or the new one, never a mixture, whatever is killed when.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

StrPath = str | os.PathLike[str]
"""The path of a file or folder, as callers may give it"""

POINTS = (
    *("before_write", "half_written", "after_write", "after_fsync"),
    *("before_rename", "after_rename", "before_link", "after_link", "before_prune", "half_removed"),
)
"""The moments at which :data:`watch` is called."""

TEMPORARY = ".tmp-"
"""How the names of unfinished files and folders begin; :func:`remove_leftovers` removes all of
them."""

watch: Callable[[str], None] = lambda point: None  # noqa: E731 - replaced as a whole
"""Told each moment between two system calls; the tests of crashes kill the process there."""


def sha256(data: bytes) -> str:
    """Hexadecimal SHA-256 of some bytes."""
    return hashlib.sha256(data).hexdigest()


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable (renames and new files are not until then)."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_synced(path: Path, data: bytes) -> None:
    """Write a file and wait until it is on disk. For files nobody reads yet; see
    :func:`write_atomic`."""
    watch("before_write")
    with open(path, "wb") as file:
        half = len(data) // 2
        file.write(memoryview(data)[:half])
        file.flush()
        watch("half_written")
        file.write(memoryview(data)[half:])
        file.flush()
        watch("after_write")
        os.fsync(file.fileno())
    watch("after_fsync")


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path to write to; at the end it takes the place of ``path``, after an error it is
    gone."""
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
    """Replace a file's content at once."""
    with replacing(path) as temporary:
        temporary.write_bytes(data)


def write_folder(folder: Path, files: dict[str, bytes]) -> None:
    """Make a new folder that appears with all its files or not at all.

    Raises:
        OSError: as the system reports it (disk full, no permission, the folder exists and is not
            empty); nothing is left behind then, but for a whole folder whose name could not be made
            durable.
    """
    temporary = folder.with_name(f"{TEMPORARY}{folder.name}")
    remove_tree(temporary)
    try:
        temporary.mkdir(parents=True)
        for name, data in files.items():
            write_synced(temporary / name, data)
        sync_folder(temporary)
        watch("before_rename")
        os.rename(temporary, folder)
        watch("after_rename")
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    sync_folder(folder.parent)


def remove_tree(folder: Path) -> None:
    """Remove a folder so that no part of it is ever taken for the whole: it is renamed first."""
    if not folder.exists():
        return
    doomed = folder.with_name(f"{TEMPORARY}removed-{folder.name.removeprefix(TEMPORARY)}")
    if folder != doomed:
        shutil.rmtree(doomed, ignore_errors=True)
        os.rename(folder, doomed)
    watch("half_removed")
    shutil.rmtree(doomed)


def remove_leftovers(folder: Path) -> None:
    """Remove what a killed process left half-written in a folder."""
    for path in folder.glob(f"{TEMPORARY}*"):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


def point_link(link: Path, target: str) -> None:
    """Let a relative symbolic link point at ``target``, with no instant at which it points
    nowhere."""
    if link.is_symlink() and os.readlink(link) == target:
        return
    temporary = link.with_name(f"{TEMPORARY}{link.name}")
    temporary.unlink(missing_ok=True)
    watch("before_link")
    try:
        os.symlink(target, temporary)
        os.replace(temporary, link)
        watch("after_link")
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(link.parent)
