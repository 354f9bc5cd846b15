"""A user's own data set: a folder of speakers, a Kaldi directory, or a list of ppvector."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

from vprtrain.data.manifest import read_manifest
from vprtrain.data.preparation.folders import speaker_files, subfolders
from vprtrain.errors import UsageError


def of_folder(source: Path, root: Path) -> list[tuple[str, str]]:
    """The ``(path, speaker)`` of every recording in ``source/<speaker>`` and its subfolders.

    Raises:
        UsageError: the folder does not exist or has no recordings.
    """
    if not source.is_dir():
        raise UsageError(
            f"{source}: no such folder; expected a folder with one subfolder per speaker"
        )
    found, _ = speaker_files(source.resolve(), subfolders(source))
    if not found:
        raise UsageError(
            f"{source}: no recordings found; "
            f"expected {source}/<speaker>/<any name>.wav, .flac or others"
        )
    return found


def of_kaldi(source: Path, root: Path) -> list[tuple[str, str]]:
    """The ``(path, speaker)`` of every line of a Kaldi directory's ``wav.scp`` and ``utt2spk``.

    Raises:
        UsageError: a file is missing or malformed, or audio is not in files of its own:
            ``segments``, pipes and archives.
    """
    missing = [name for name in ("wav.scp", "utt2spk") if not (source / name).is_file()]
    if missing:
        raise UsageError(
            f"{source}: {' and '.join(missing)} not found; expected a Kaldi directory with both"
        )
    if (source / "segments").exists():
        raise UsageError(
            f"{source / 'segments'}: parts of recordings are not supported; "
            "write them to files first"
        )
    speakers = dict(_pairs(source / "utt2spk", "utterance speaker"))
    found = []
    for utterance, written in _pairs(source / "wav.scp", "utterance path"):
        if written.endswith("|"):
            raise UsageError(
                f"{source / 'wav.scp'}: {utterance} is the output of a command ({written!r}); "
                "commands are not run: write its audio to files first"
            )
        if re.search(r":\d+$", written):
            raise UsageError(
                f"{source / 'wav.scp'}: {utterance} is in an archive ({written!r}); "
                "archives are not read: write its audio to files first"
            )
        if utterance not in speakers:
            raise UsageError(
                f"{source / 'utt2spk'}: no speaker for {utterance} of wav.scp; "
                "expected a line for every utterance"
            )
        found.append((os.path.join(root, written), speakers[utterance]))
    return found


def of_ppvector(source: Path, root: Path) -> list[tuple[str, str]]:
    """The ``(path, speaker)`` of every ``path<TAB>integer label`` line of a list.

    Raises:
        UsageError: the list cannot be read as a manifest.
    """
    manifest = read_manifest(source)
    return [
        (os.path.join(root, path), manifest.speakers[label])
        for path, label in zip(manifest.written_paths, manifest.labels, strict=True)
    ]


READERS = {"folder": of_folder, "kaldi": of_kaldi, "ppvector": of_ppvector}
"""Each takes the source, and the folder at which relative paths in lists start."""


def _pairs(path: Path, form: str) -> Iterator[tuple[str, str]]:
    """The first column of every line, and the rest of the line."""
    with open(path, encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            first, *rest = line.split(maxsplit=1)
            if not rest:
                raise UsageError(
                    f"{path}, line {number}: expected {form!r}, found {line.strip()!r}"
                )
            yield first, rest[0].strip()
