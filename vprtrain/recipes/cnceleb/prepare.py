"""The manifests of CN-Celeb. Audio is not moved or converted, unless utterances are joined.

The official lists name ``.wav`` files, the archives hold ``.flac`` files; either is found.
"""

from __future__ import annotations

import os
from pathlib import Path

from vprtrain.data.preparation import Preparation, Summary
from vprtrain.data.preparation.folders import (
    audio_files,
    find_root,
    speaker_files,
    subfolders,
    with_any_suffix,
)
from vprtrain.errors import UsageError, shown
from vprtrain.files import StrPath
from vprtrain.lists import read_lines
from vprtrain.scoring.trials import read_enrollment, read_trials

TRIALS = "trials.txt"
ENROLLMENT = "enroll.map"

# Counts of the complete archives, from the public recipes.
_SPEAKERS = {"CN-Celeb1": 797, "CN-Celeb2": 1996}
_UTTERANCES_1 = 126_532
_RECORDINGS = 17_777 + 196
_TRIALS = 3_484_292
_TARGET_TRIALS = 17_755


def prepare(
    preparation: Preparation,
    cnceleb1: StrPath | None,
    cnceleb2: StrPath | None = None,
    *,
    join_seconds: float | None = None,
) -> None:
    """Write ``train.tsv``, and with CN-Celeb1 ``eval.tsv``, ``trials.txt`` and ``enroll.map``.

    The training speakers are those of CN-Celeb1's ``dev/dev.lst`` and of CN-Celeb2's ``spk.lst``.
    ``eval.tsv`` lists both the utterances of ``enroll.map`` and the concatenated
    ``enroll/*-enroll`` recordings, so that either enrolment can be scored.

    Args:
        preparation: measures the recordings and writes the files.
        cnceleb1: the folder ``CN-Celeb_flac``, or the folder that holds it.
        cnceleb2: the folder ``CN-Celeb2_flac``, or the folder that holds it.
        join_seconds: consecutive utterances of one speaker and genre are joined to at least this
            length.

    Raises:
        UsageError: no archive is given, a folder is not an unpacked archive, or recordings of the
            evaluation are missing.
    """
    if cnceleb1 is None and cnceleb2 is None:
        raise UsageError(
            "neither cnceleb1 nor cnceleb2 is given; expected the folder of one archive or of both"
        )
    utterances = []
    if cnceleb1 is not None:
        first = find_root(
            cnceleb1, "CN-Celeb_flac", ("data", "dev/dev.lst", "eval/lists/trials.lst")
        )
        _write_evaluation(preparation, first)
        everything = sum(
            len(audio_files(first / "data" / speaker, Summary()))
            for speaker in subfolders(first / "data")
        )
        preparation.summary.count(
            "utterances in CN-Celeb1's data, of all speakers", everything, expected=_UTTERANCES_1
        )
        utterances += _training_files(
            preparation, first / "data", first / "dev/dev.lst", "CN-Celeb1"
        )
    else:
        preparation.summary.remark("no CN-Celeb1: there is nothing to validate on")
    if cnceleb2 is not None:
        second = find_root(cnceleb2, "CN-Celeb2_flac", ("data", "spk.lst"))
        utterances += _training_files(preparation, second / "data", second / "spk.lst", "CN-Celeb2")
    rows = preparation.measure(utterances)
    if join_seconds is not None:
        rows = preparation.join(rows, seconds=join_seconds, group=_genre)
    preparation.write_training(rows)


def _training_files(
    preparation: Preparation, data: Path, listed: Path, archive: str
) -> list[tuple[str, str]]:
    """(path, speaker) of the utterances of the listed speakers, in order."""
    speakers = _speakers(listed)
    preparation.summary.count(
        f"training speakers listed in {archive}", len(speakers), expected=_SPEAKERS[archive]
    )
    found, absent = speaker_files(data, speakers, preparation.summary)
    preparation.summary.remark_names(f"speakers of {listed} have no folder in {data}", absent)
    preparation.summary.count(f"training utterances in {archive}", len(found))
    return found


def _speakers(listed: Path) -> list[str]:
    speakers: set[str] = set()
    for number, line in read_lines(listed, "one speaker id a line"):
        names = line.split()
        if wrong := next((name for name in names if "/" in name or name in (".", "..")), None):
            raise UsageError(
                f"{listed}, line {number}: {shown(wrong)} is not the name of a speaker's folder"
            )
        speakers.update(names)
    if not speakers:
        raise UsageError(f"{listed}: empty; expected one speaker id a line")
    return sorted(speakers)


def _genre(path: str) -> str:
    """``speech`` of ``speech-01-001.flac``."""
    return os.path.basename(path).partition("-")[0]


def _write_evaluation(preparation: Preparation, root: Path) -> None:
    preparation.write_evaluation(_evaluation_files(root))
    lists = root / "eval" / "lists"
    preparation.copy(lists / "enroll.map", ENROLLMENT)
    trials = read_trials(preparation.copy(lists / "trials.lst", TRIALS))
    summary = preparation.summary
    summary.count(
        "enrolments and test recordings",
        len(trials.enroll_ids) + len(trials.test_ids),
        expected=_RECORDINGS,
    )
    summary.count("trials", len(trials), expected=_TRIALS)
    summary.count("target trials", int(trials.targets.sum()), expected=_TARGET_TRIALS)


def _evaluation_files(root: Path) -> list[tuple[str, str]]:
    """(id, path) of every recording in the trials and in both enrolments.

    Raises:
        UsageError: a recording is missing, or a list lacks an enrolment.
    """
    lists = root / "eval" / "lists"
    trials = read_trials(lists / "trials.lst")
    enrollment = read_enrollment(lists / "enroll.map")
    concatenated = {key: files[0] for key, files in read_enrollment(lists / "enroll.lst").items()}
    wanted = {key: root / "eval" / key for key in trials.test_ids}
    wanted |= {key: root / "data" / key for keys in enrollment.values() for key in keys}
    wanted |= {key: root / "eval" / file for key, file in concatenated.items()}
    for source, known in (("enroll.map", enrollment), ("enroll.lst", concatenated)):
        if unknown := [key for key in trials.enroll_ids if key not in known]:
            raise UsageError(
                f"{lists / source}: no line for {len(unknown)} enrol ids of trials.lst: "
                f"{', '.join(unknown[:5])}"
            )
    files = {key: with_any_suffix(path) for key, path in wanted.items()}
    if missing := [str(wanted[key]) for key, path in files.items() if path is None]:
        raise UsageError(
            f"{root}: {len(missing)} recordings of the evaluation are missing (looked for .wav and "
            f".flac): {', '.join(missing[:5])}; unpack the archive again"
        )
    return [(key, str(path)) for key, path in sorted(files.items())]
