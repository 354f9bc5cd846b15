"""A user's own data set: a folder of speakers, a Kaldi directory, or a list of ppvector."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

from vprtrain.data.manifest import read_manifest
from vprtrain.data.preparation.folders import speaker_files, subfolders
from vprtrain.data.preparation.summary import Summary
from vprtrain.errors import UsageError, shown
from vprtrain.lists import first_alike, lines_where, read_table, read_wav_scp

Reader = Callable[[Path, Path, Summary], list[tuple[str, str]]]


def of_folder(source: Path, root: Path, summary: Summary) -> list[tuple[str, str]]:
    """The ``(path, speaker)`` of every recording in ``source/<speaker>`` and its subfolders.

    Other files are counted in the summary.

    Raises:
        UsageError: the folder does not exist, has no recordings, or has two speakers with names
            that look the same.
    """
    if not os.path.isdir(source):  # unlike Path.is_dir, False for any odd path
        raise UsageError(
            f"{source}: no such folder; expected a folder with one subfolder per speaker"
        )
    speakers = subfolders(source, summary)
    if alike := first_alike(speakers):
        raise UsageError(
            f"{source}: the folders {shown(alike[0])} and {shown(alike[1])} would be two speakers; "
            "expected one spelling of a speaker's name"
        )
    found, _ = speaker_files(source.resolve(), speakers, summary)
    if not found:
        raise UsageError(
            f"{source}: no recordings found; "
            f"expected {source}/<speaker>/<any name>.wav, .flac or others"
        )
    return found


def of_kaldi(source: Path, root: Path, summary: Summary) -> list[tuple[str, str]]:
    """The ``(path, speaker)`` of every line of a Kaldi directory's ``wav.scp`` and ``utt2spk``.

    Raises:
        UsageError: a file is missing or malformed, lines contradict each other, or audio is not in
            files of its own: ``segments``, pipes and archives.
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
    scp, utt2spk = source / "wav.scp", source / "utt2spk"
    speakers = _speakers(utt2spk)
    found: list[tuple[str, str]] = []
    speaker_of: dict[str, str] = {}
    for number, utterance, written in read_wav_scp(scp, root):
        speaker = speakers.pop(utterance, None)
        if speaker is None:
            raise UsageError(
                f"{utt2spk}: no speaker for {shown(utterance)} of wav.scp; "
                "expected a line for every utterance"
            )
        path = os.path.join(root, written)
        if speaker_of.setdefault(path, speaker) != speaker:
            raise UsageError(
                f"{scp}, line {number}: {shown(written)} has the speaker "
                f"{shown(speaker_of[path])} in an earlier line, and {shown(speaker)} here; "
                "expected one speaker of a recording"
            )
        found.append((path, speaker))
    summary.remark_names("utterances of utt2spk are not in wav.scp", list(speakers))
    return found


def of_ppvector(source: Path, root: Path, summary: Summary) -> list[tuple[str, str]]:
    """The ``(path, speaker)`` of every ``path<TAB>integer label`` line of a list.

    Raises:
        UsageError: the list cannot be read as a manifest.
    """
    manifest = read_manifest(source)
    return [
        (os.path.join(root, path), manifest.speakers[label])
        for path, label in zip(manifest.written_paths, manifest.labels, strict=True)
    ]


READERS: dict[str, Reader] = {"folder": of_folder, "kaldi": of_kaldi, "ppvector": of_ppvector}
"""Each takes the source, the folder at which relative paths in lists start, and the summary, in
which it counts what it leaves out."""


def _speakers(utt2spk: Path) -> dict[str, str]:
    """The speaker of each utterance."""
    form = "utterance speaker"
    speakers = {utterance: speaker for _, utterance, speaker in read_table(utt2spk, form)}
    if alike := first_alike(dict.fromkeys(speakers.values())):
        lines = lines_where(utt2spk, form, *(partial(_ends_with, name) for name in alike))
        raise UsageError(
            f"{utt2spk}, {lines}: {shown(alike[0])} and {shown(alike[1])} would be two speakers; "
            "expected one spelling of a speaker's name"
        )
    return speakers


def _ends_with(rest: str, line: str) -> bool:
    return line.split(maxsplit=1)[1].strip() == rest
