"""Finding recordings in the folders of unpacked archives."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import NoReturn

from vprtrain.data.preparation.recognising import reason_to_skip
from vprtrain.data.preparation.summary import Summary
from vprtrain.errors import UsageError
from vprtrain.files import StrPath

AUDIO_SUFFIXES = (
    *(".flac", ".wav", ".m4a", ".opus", ".ogg", ".mp3", ".aac", ".sph", ".wma", ".mp4", ".webm"),
    *(".aiff", ".aif", ".amr", ".au", ".caf", ".w64", ".spx", ".oga", ".m4b", ".mka", ".3gp"),
    *(".mkv", ".mov"),
)
"""The usual suffixes of recordings. If a folder has one recording in several formats, the first of
these is taken. A file with another suffix is a recording if its content is: see
:func:`vprtrain.data.preparation.recognising.reason_to_skip`. The content also decides how a file is
decoded."""


_RANKS = {suffix: rank for rank, suffix in enumerate(AUDIO_SUFFIXES)}


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


def audio_files(folder: StrPath, summary: Summary) -> list[str]:
    """The recordings in a folder and its subfolders, sorted by name. What is left out is counted in
    the summary: hidden files, files that are no recordings, and copies in other formats."""
    found: dict[str, tuple[int, str]] = {}
    for parent, folders, names in os.walk(folder, onerror=_refuse, followlinks=True):
        folders[:] = [
            name for name in folders if not _is_left_out(os.path.join(parent, name), summary)
        ]
        for name in names:
            path = os.path.join(parent, name)
            stem, suffix = os.path.splitext(path)
            rank = _RANKS.get(suffix.lower())
            if name.startswith("."):
                summary.skip(path, "hidden")
            elif rank is None:
                if reason := reason_to_skip(path):
                    summary.skip(path, reason)
                else:
                    found[f"{path}\0"] = (0, path)  # no stem has this character
            elif (other := found.get(stem)) is None:
                found[stem] = (rank, path)
            else:
                found[stem], copy = sorted([other, (rank, path)])
                summary.skip(copy[1], "a recording with the same name and another suffix is used")
    return [found[place][1] for place in sorted(found)]


def speaker_files(
    folder: Path, speakers: Iterable[str], summary: Summary
) -> tuple[list[tuple[str, str]], list[str]]:
    """The ``(path, speaker)`` of every recording in ``folder/<speaker>``, and the speakers without
    a folder. What is left out is counted in the summary."""
    found: list[tuple[str, str]] = []
    absent = []
    for speaker in speakers:
        if (folder / speaker).is_dir():
            found.extend((path, speaker) for path in audio_files(folder / speaker, summary))
        else:
            absent.append(speaker)
    return found, absent


def subfolders(folder: Path, summary: Summary | None = None) -> list[str]:
    """The sorted names of the folders in a folder, without hidden ones. The files beside them and
    hidden folders are counted in the summary."""
    summary = summary or Summary()
    names = []
    with os.scandir(folder) as entries:
        for entry in entries:
            if not entry.is_dir():
                summary.skip(entry.path, "not in a subfolder")
            elif not _is_left_out(entry.path, summary):
                names.append(entry.name)
    return sorted(names)


def without_suffix(path: str) -> str:
    """A path without the usual suffix of a recording. Anything else after a dot stays, because it
    may be all that two names differ in."""
    stem, suffix = os.path.splitext(path)
    return stem if suffix.lower() in _RANKS else path


def with_any_suffix(path: Path) -> Path | None:
    """The recording as a list names it, or with another suffix; ``None`` if there is none.

    Official lists say ``.wav`` although the archives hold FLAC.
    """
    return next(
        (found for found in (path, *map(path.with_suffix, AUDIO_SUFFIXES)) if found.is_file()), None
    )


def _is_left_out(folder: str, summary: Summary) -> bool:
    """Whether a folder is hidden, or a link to one of its parents, which would be walked without
    end."""
    is_hidden = os.path.basename(folder).startswith(".")
    if is_hidden:
        summary.skip(folder, "a hidden folder")
    return is_hidden or (
        os.path.islink(folder)
        and any(os.path.samefile(folder, parent) for parent in Path(folder).absolute().parents)
    )


def _refuse(error: OSError) -> NoReturn:
    raise UsageError(
        f"{error.filename}: cannot be listed ({error.strerror}); expected a folder"
    ) from error
