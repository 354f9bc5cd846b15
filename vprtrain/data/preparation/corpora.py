"""Data sets of any origin: a folder of speakers, a Kaldi directory, a list of ppvector's."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

from vprtrain.data.manifest import read_manifest
from vprtrain.data.preparation.folders import speaker_files, subfolders
from vprtrain.errors import UsageError


def of_folder(source: Path, root: Path) -> list[tuple[str, str]]:
    """(path, speaker) of the recordings in ``source/<speaker>`` and below."""
    if not source.is_dir():
        raise UsageError(
            f"{source}: no such folder; expected one that holds a folder for every speaker"
        )
    found, _ = speaker_files(source.resolve(), subfolders(source))
    if not found:
        raise UsageError(
            f"{source}: no recordings found; expected {source}/<speaker>/<any name>.wav, .flac or others"
        )
    return found


def of_kaldi(source: Path, root: Path) -> list[tuple[str, str]]:
    """(path, speaker) of a Kaldi directory with ``wav.scp`` and ``utt2spk``.

    Raises :class:`UsageError` for ``segments``, pipes and archives, whose audio is in no file of
    its own.
    """
    missing = [name for name in ("wav.scp", "utt2spk") if not (source / name).is_file()]
    if missing:
        raise UsageError(
            f"{source}: {' and '.join(missing)} not found; expected a Kaldi directory with both"
        )
    if (source / "segments").exists():
        raise UsageError(
            f"{source / 'segments'}: parts of recordings are not supported; cut them into files first"
        )
    speakers = dict(_pairs(source / "utt2spk", "utterance speaker"))
    found = []
    for utterance, written in _pairs(source / "wav.scp", "utterance path"):
        if written.endswith("|"):
            raise UsageError(
                f"{source / 'wav.scp'}: {utterance} is the output of a command ({written!r}); commands are not run: "
                "write its audio to files first"
            )
        if re.search(r":\d+$", written):
            raise UsageError(
                f"{source / 'wav.scp'}: {utterance} lies in an archive ({written!r}); archives are not read: "
                "write its audio to files first"
            )
        if utterance not in speakers:
            raise UsageError(
                f"{source / 'utt2spk'}: no speaker for {utterance} of wav.scp; expected a line for each"
            )
        found.append((os.path.join(root, written), speakers[utterance]))
    return found


def of_ppvector(source: Path, root: Path) -> list[tuple[str, str]]:
    """(path, speaker) of a list of ``path<TAB>integer label`` lines."""
    manifest = read_manifest(source)
    return [
        (os.path.join(root, path), manifest.speakers[label])
        for path, label in zip(manifest.written_paths, manifest.labels, strict=True)
    ]


READERS = {"folder": of_folder, "kaldi": of_kaldi, "ppvector": of_ppvector}
"""Each is given the source and the folder that relative paths in lists are meant from."""


def _pairs(path: Path, form: str) -> Iterator[tuple[str, str]]:
    """A line's first column, and the rest of it."""
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
