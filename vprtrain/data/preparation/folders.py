"""Finding recordings in the folders of unpacked archives."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import NoReturn

from vprtrain.errors import UsageError
from vprtrain.files import StrPath

AUDIO_SUFFIXES = (
    ".flac",
    ".wav",
    ".m4a",
    ".opus",
    ".ogg",
    ".mp3",
    ".aac",
    ".sph",
    ".wma",
    ".mp4",
    ".webm",
)
"""The suffixes of recordings. If a folder has one recording in several formats, the first of these
is taken. A file's content, not its suffix, decides how it is decoded."""


def find_root(given: StrPath, name: str, needed: Iterable[str]) -> Path:
    """The folder of an archive: ``given``, or the folder called ``name`` in it.

    Raises:
        UsageError: neither has everything that is ``needed``.
    """
    given, needed = Path(given), list(needed)
    for root in (given, given / name):
        if all((root / part).exists() for part in needed):
            return root.resolve()
    missing = [part for part in needed if not (given / part).exists()]
    raise UsageError(
        f"{given}: not an unpacked {name}: {', '.join(missing)} not found in it or in "
        f"{given / name}; give the folder {name} of the unpacked archive"
    )


def audio_files(folder: StrPath) -> list[str]:
    """The recordings in a folder and its subfolders, sorted by name, without hidden ones."""
    found: dict[str, tuple[int, str]] = {}
    for parent, folders, names in os.walk(folder, onerror=_refuse, followlinks=True):
        folders[:] = [
            name
            for name in folders
            if not name.startswith(".") and not _is_loop(os.path.join(parent, name))
        ]
        for name in names:
            stem, suffix = os.path.splitext(name)
            if name.startswith(".") or suffix.lower() not in AUDIO_SUFFIXES:
                continue
            copy = (AUDIO_SUFFIXES.index(suffix.lower()), os.path.join(parent, name))
            place = os.path.join(parent, stem)
            found[place] = min(copy, found.get(place, copy))
    return [found[place][1] for place in sorted(found)]


def speaker_files(folder: Path, speakers: Iterable[str]) -> tuple[list[tuple[str, str]], list[str]]:
    """The ``(path, speaker)`` of every recording in ``folder/<speaker>``, and the speakers without
    a folder."""
    found: list[tuple[str, str]] = []
    absent = []
    for speaker in speakers:
        if (folder / speaker).is_dir():
            found.extend((path, speaker) for path in audio_files(folder / speaker))
        else:
            absent.append(speaker)
    return found, absent


def subfolders(folder: Path) -> list[str]:
    """The sorted names of the folders in a folder, without hidden ones."""
    with os.scandir(folder) as entries:
        folders = [entry for entry in entries if entry.is_dir() and not entry.name.startswith(".")]
        return sorted(folder.name for folder in folders if not _is_loop(folder.path))


def with_any_suffix(path: Path) -> Path | None:
    """The recording as a list names it, or with another suffix; ``None`` if there is none.

    Official lists say ``.wav`` although the archives hold FLAC.
    """
    return next(
        (found for found in (path, *map(path.with_suffix, AUDIO_SUFFIXES)) if found.is_file()), None
    )


def _is_loop(folder: str) -> bool:
    """Whether a folder is a link to one of its parents, which would be walked without end."""
    return os.path.islink(folder) and any(
        os.path.samefile(folder, parent) for parent in Path(folder).absolute().parents
    )


def _refuse(error: OSError) -> NoReturn:
    raise UsageError(
        f"{error.filename}: cannot be listed ({error.strerror}); expected a folder"
    ) from error
