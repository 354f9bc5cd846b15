"""Finding recordings in the folders that archives unpack to."""

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
"""By which a recording is found; how it is decoded, its content decides. Of two copies of one
recording, the first."""


def find_root(given: StrPath, name: str, needed: Iterable[str]) -> Path:
    """The folder of an archive: the one that is given, or the one called ``name`` in it.

    Raises :class:`UsageError` where neither holds everything that is ``needed``.
    """
    given, needed = Path(given), list(needed)
    for root in (given, given / name):
        if all((root / part).exists() for part in needed):
            return root.resolve()
    missing = [part for part in needed if not (given / part).exists()]
    raise UsageError(
        f"{given}: not an unpacked {name}: {', '.join(missing)} not found in it, nor in {given / name}; "
        f"give the folder {name} that the archive unpacks to"
    )


def audio_files(folder: StrPath) -> list[str]:
    """The recordings in a folder and the folders in it, ordered by name; hidden ones are left
    out."""
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
    """(path, speaker) of the recordings in ``folder/<speaker>``, and the speakers who have no such
    folder."""
    found: list[tuple[str, str]] = []
    absent = []
    for speaker in speakers:
        if (folder / speaker).is_dir():
            found.extend((path, speaker) for path in audio_files(folder / speaker))
        else:
            absent.append(speaker)
    return found, absent


def subfolders(folder: Path) -> list[str]:
    """The names of the folders in a folder, in order; hidden ones are left out."""
    with os.scandir(folder) as entries:
        folders = [entry for entry in entries if entry.is_dir() and not entry.name.startswith(".")]
        return sorted(folder.name for folder in folders if not _is_loop(folder.path))


def with_any_suffix(path: Path) -> Path | None:
    """The recording as a list writes it, or with another suffix: lists say ``.wav`` where archives
    hold FLAC."""
    return next(
        (found for found in (path, *map(path.with_suffix, AUDIO_SUFFIXES)) if found.is_file()), None
    )


def _is_loop(folder: str) -> bool:
    """Whether a folder is a link to one that it is in: following it would find everything again and
    again."""
    return os.path.islink(folder) and any(
        os.path.samefile(folder, parent) for parent in Path(folder).absolute().parents
    )


def _refuse(error: OSError) -> NoReturn:
    raise UsageError(
        f"{error.filename}: cannot be listed ({error.strerror}); expected a folder"
    ) from error
