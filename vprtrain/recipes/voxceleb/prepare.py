"""The manifests of VoxCeleb. VoxCeleb2's m4a files are used as they are, or converted to FLAC."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal, NamedTuple

from vprtrain.data.preparation import Preparation
from vprtrain.data.preparation.folders import speaker_files, subfolders, with_any_suffix
from vprtrain.errors import UsageError
from vprtrain.files import StrPath
from vprtrain.scoring.trials import Trials, read_trials

TrainingSet = Literal["vox2", "vox1", "vox1+2"]


class _TrialList(NamedTuple):
    """A cleaned trial list: its distributed name, its name here, and its number of trials."""

    file: str
    target: str
    trials: int


# Counts of the complete archives, from PaddleSpeech.
_LISTS = {
    "Vox1-O": _TrialList("veri_test2.txt", "vox1_o.txt", 37_611),
    "Vox1-E": _TrialList("list_test_all2.txt", "vox1_e.txt", 579_818),
    "Vox1-H": _TrialList("list_test_hard2.txt", "vox1_h.txt", 550_894),
}
_COUNTS = {
    "VoxCeleb1 dev": (1211, 148_642),
    "VoxCeleb1 test": (40, 4_874),
    "VoxCeleb2 dev": (5994, 1_092_009),
}
# Both archives of VoxCeleb1 unpack into a folder wav, which people keep apart or merge.
_FOLDERS = {
    "VoxCeleb1 dev": ("dev/wav", "vox1_dev_wav/wav", "wav"),
    "VoxCeleb1 test": ("test/wav", "vox1_test_wav/wav", "wav"),
    "VoxCeleb2 dev": ("dev/aac", "aac", "dev/wav", "wav", "dev", "."),
}

Utterances = list[tuple[str, str]]
Parts = dict[str, Path | None]


def prepare(
    preparation: Preparation,
    vox1: StrPath | None,
    vox2: StrPath | None,
    *,
    lists: StrPath | None = None,
    train: TrainingSet = "vox2",
    convert: bool = False,
) -> None:
    """Write ``train.tsv``, and with VoxCeleb1 ``eval.tsv`` and ``vox1_o.txt``, ``vox1_e.txt``,
    ``vox1_h.txt``.

    The lists of Vox1-E and Vox1-H cover all of VoxCeleb1. They are left out when its dev part is
    missing, and results on them are invalid for a model that was trained on it. Speakers of Vox1-O
    are never trained on.

    Args:
        preparation: measures the recordings and writes the files.
        vox1: the folder of VoxCeleb1.
        vox2: the folder of VoxCeleb2.
        lists: the folder of the trial lists; ``None`` means ``vox1``.
        train: the dev parts to train on.
        convert: rewrite VoxCeleb2 as FLAC in ``out_dir/vox2_flac``.

    Raises:
        UsageError: an archive or a list is not found, recordings of the trials are missing, or
            speakers of the trials are in the folder of VoxCeleb2.
    """
    parts: Parts = {"VoxCeleb1 dev": None, "VoxCeleb1 test": None}
    if vox1 is not None:
        parts = _vox1_parts(Path(vox1), Path(lists or vox1))
    trials = {} if vox1 is None else _find_lists(preparation, Path(lists or vox1), parts)
    evaluation = _evaluation_files(parts, trials)
    if parts["VoxCeleb1 test"] is not None and "Vox1-O" in trials:
        _recordings(
            preparation,
            parts["VoxCeleb1 test"],
            "VoxCeleb1 test",
            sorted(_speakers_of(trials["Vox1-O"][1])),
        )
    training: Utterances = []
    if train in ("vox1", "vox1+2"):
        training += _vox1_training(preparation, vox1, parts["VoxCeleb1 dev"], trials)
    if train in ("vox2", "vox1+2"):
        training += _vox2_training(preparation, vox2, convert, trials)
    if trials:
        preparation.write_evaluation(evaluation)
        for name, (path, content) in trials.items():
            preparation.copy(path, _LISTS[name].target)
            preparation.summary.count(
                f"trials of {name}", len(content), expected=_LISTS[name].trials
            )
    else:
        preparation.summary.remark("no VoxCeleb1: there is nothing to validate on")
    preparation.write_training(preparation.measure(training))


def _vox1_training(
    preparation: Preparation,
    vox1: StrPath | None,
    dev: Path | None,
    trials: dict[str, tuple[Path, Trials]],
) -> Utterances:
    if vox1 is None or dev is None:
        raise UsageError(
            "no VoxCeleb1 to train on: give its folder with dev/wav in it, or choose --train vox2"
        )
    if "Vox1-O" not in trials:
        raise UsageError(
            f"{vox1}: no {_LISTS['Vox1-O'].file}, whose speakers must not be trained on; "
            "give --lists"
        )
    tested = _speakers_of(trials["Vox1-O"][1])
    preparation.summary.remark(
        "trained on VoxCeleb1: results on Vox1-E and Vox1-H are invalid, because their speakers "
        "are trained on; results on Vox1-O are valid"
    )
    return _recordings(
        preparation, dev, "VoxCeleb1 dev", [name for name in _speakers(dev) if name not in tested]
    )


def _vox2_training(
    preparation: Preparation,
    vox2: StrPath | None,
    convert: bool,
    trials: dict[str, tuple[Path, Trials]],
) -> Utterances:
    if vox2 is None:
        raise UsageError("no VoxCeleb2 to train on: give --vox2, or choose --train vox1")
    folder = _find(Path(vox2), "VoxCeleb2 dev")
    if folder is None:
        raise _not_found(Path(vox2), "VoxCeleb2 dev")
    speakers = _speakers(folder)
    tested = {speaker for _, content in trials.values() for speaker in _speakers_of(content)}
    if mixed := [speaker for speaker in speakers if speaker in tested]:
        raise UsageError(
            f"{folder}: not VoxCeleb2 alone: {len(mixed)} speakers in it are in the trials: "
            f"{', '.join(mixed[:5])}; give a folder without VoxCeleb1"
        )
    utterances = _recordings(preparation, folder, "VoxCeleb2 dev", speakers)
    return preparation.convert(utterances, folder, "vox2_flac") if convert else utterances


def _recordings(
    preparation: Preparation, folder: Path, part: str, speakers: list[str]
) -> Utterances:
    """(path, speaker) of ``folder/<speaker>/<video>/<recording>``."""
    found, _ = speaker_files(folder, speakers, preparation.summary)
    expected_speakers, expected = _COUNTS[part]
    preparation.summary.count(f"speakers in {part}", len(speakers), expected=expected_speakers)
    preparation.summary.count(f"utterances in {part}", len(found), expected=expected)
    return found


def _speakers(folder: Path) -> list[str]:
    return [name for name in subfolders(folder) if name.startswith("id")]


def _speakers_of(trials: Trials) -> set[str]:
    return {key.partition("/")[0] for key in (*trials.enroll_ids, *trials.test_ids)}


def _vox1_parts(vox1: Path, lists: Path) -> Parts:
    """The folders of VoxCeleb1's parts.

    Raises:
        UsageError: the test part is not found.
    """
    dev, test = _find(vox1, "VoxCeleb1 dev"), _find(vox1, "VoxCeleb1 test")
    if test is None:
        raise _not_found(vox1, "VoxCeleb1 test")
    tested = lists / _LISTS["Vox1-O"].file
    if (
        dev == test
        and tested.is_file()
        and _speakers_of(read_trials(tested)).issuperset(_speakers(test))
    ):
        dev = None  # the folder wav holds the test archive only
    return {"VoxCeleb1 dev": dev, "VoxCeleb1 test": test}


def _find(given: Path, part: str) -> Path | None:
    """The folder that holds the speakers' folders of a part."""
    for name in _FOLDERS[part]:
        folder = given / name
        if folder.is_dir() and _speakers(folder):
            return folder.resolve()
    return None


def _not_found(given: Path, part: str) -> UsageError:
    looked = ", ".join(os.path.join(name, "id*") for name in _FOLDERS[part])
    return UsageError(
        f"{given}: no {part}: looked for folders {looked} in it; give the folder that the archive "
        "unpacks to"
    )


def _find_lists(
    preparation: Preparation, folder: Path, parts: Parts
) -> dict[str, tuple[Path, Trials]]:
    found = {}
    for name, (file, _, _) in _LISTS.items():
        path = folder / file
        if not path.is_file():
            preparation.summary.remark(f"no {name}: looked for {path}")
        elif name != "Vox1-O" and parts["VoxCeleb1 dev"] is None:
            preparation.summary.remark(
                f"{name} left out: it covers VoxCeleb1 dev, which was not found"
            )
        else:
            found[name] = (path, read_trials(path))
    if not found:
        files = ", ".join(trial_list.file for trial_list in _LISTS.values())
        raise UsageError(
            f"{folder}: no trial lists: looked for {files}; give their folder as --lists"
        )
    return found


def _evaluation_files(
    parts: Parts, trials: dict[str, tuple[Path, Trials]]
) -> list[tuple[str, str]]:
    """(id, path) of every recording in the trials.

    Raises:
        UsageError: a recording is missing.
    """
    keys = sorted(
        {key for _, content in trials.values() for key in (*content.enroll_ids, *content.test_ids)}
    )
    folders = [folder for folder in parts.values() if folder is not None]
    files = {
        key: next(filter(None, (with_any_suffix(folder / key) for folder in folders)), None)
        for key in keys
    }
    if missing := [key for key, path in files.items() if path is None]:
        raise UsageError(
            f"{' and '.join(map(str, folders))}: {len(missing)} recordings of the trials are "
            f"missing (looked for .wav and others): {', '.join(missing[:5])}; unpack the archives "
            "again, or remove the list that names them"
        )
    return [(key, str(path)) for key, path in files.items()]
