"""The published CAM++ on real speech: its error rates, and its use by a newcomer."""

from __future__ import annotations

import csv
import json
import shutil
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import pytest

from vprtrain import Predictor
from vprtrain.data.manifest import write_manifest
from vprtrain.pretrained import find_model

EXPECTED = {
    "librispeech": 0.0110,
    "arabic_commands": 0.0000,
    "audiomnist_az": 0.0134,
    "ravdess": 0.0792,
}
TAKES = 4

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def published(test_data: Path) -> Path:
    path = test_data / "pretrained" / "campplus_cn_en_common.pt"
    if not path.is_file():
        pytest.skip(f"no published model at {path}")
    return path


@pytest.fixture(scope="module")
def model(published: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The checkpoint that ``vprtrain pretrained --file`` makes."""
    out = tmp_path_factory.mktemp("pretrained") / "campplus"
    vprtrain("pretrained", "campplus-zh-en", out, "--file", published)
    return out


def vprtrain(*arguments: object) -> str:
    command = [sys.executable, "-m", "vprtrain", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_error_rates_are_those_of_the_catalogue(
    model: Path, test_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pack = test_data / "dev_pack"
    with open(pack / "metadata.csv", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["split"] == "eval"]
    evaluated = [(row["path"], str(pack / row["path"]), float(row["duration"])) for row in rows]
    write_manifest(tmp_path / "eval.tsv", evaluated)
    found = {}
    for name in EXPECTED:
        printed = vprtrain(
            *("validate", f"--checkpoint={model}", f"--out={tmp_path / name}", "--json"),
            f"--data.trials={pack / 'trials' / f'{name}.txt'}",
            f"--data.eval_manifest={tmp_path / 'eval.tsv'}",
        )
        found[name] = json.loads(printed)["eer"]
    with capsys.disabled():
        print("\n" + ", ".join(f"{name} {eer:.2%}" for name, eer in found.items()))
    for name, expected in EXPECTED.items():
        assert found[name] == pytest.approx(expected, abs=0.0005), name
    listed = find_model("campplus-zh-en").eer
    assert listed is not None and list(listed.values()) == list(EXPECTED.values())


def speakers_of(test_data: Path, split: str, most: int) -> dict[str, list[Path]]:
    """Some recordings of some speakers of each data set, spread over what there is."""
    pack, found = test_data / "dev_pack", defaultdict(lambda: defaultdict(list))
    with open(pack / "metadata.csv", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            if row["split"] == split:
                found[row["dataset"]][row["speaker"]].append(pack / row["path"])
    chosen = {}
    for speakers in found.values():
        for name, paths in sorted(speakers.items())[:most]:
            if len(paths) >= TAKES - 1:
                chosen[name] = [paths[len(paths) * i // TAKES] for i in range(TAKES)]
    return chosen


def test_a_newcomer_calibrates_and_identifies(
    model: Path, test_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Calibrated on training speakers. Of the unseen ones, half are users and half are strangers:
    two recordings of each user are enrolled, all others are to be recognised or refused."""
    for speaker, paths in speakers_of(test_data, "train", 12).items():
        (tmp_path / "speakers" / speaker).mkdir(parents=True)
        for path in {*paths}:
            shutil.copy(path, tmp_path / "speakers" / speaker)
    mine = tmp_path / "mine"
    printed = vprtrain(
        *("calibrate", f"--checkpoint={model}", f"--from={tmp_path / 'speakers'}"),
        f"--out={mine}",
    )
    predictor = Predictor(mine, tmp_path / "people.db")
    unseen = speakers_of(test_data, "eval", 10)
    users = list(unseen)[::2]
    for user in users:
        for path in unseen[user][:2]:
            predictor.register(path, user)
    right, confused, missed, refused, accepted = 0, 0, 0, 0, 0
    for speaker, paths in unseen.items():
        for path in paths[2:]:
            name, _ = predictor.recognize(path)
            if speaker in users:
                right, confused, missed = (
                    right + (name == speaker),
                    confused + (name not in (None, speaker)),
                    missed + (name is None),
                )
            else:
                refused, accepted = refused + (name is None), accepted + (name is not None)
    with capsys.disabled():
        print(f"\n{printed}{len(users)} unseen users: {right} recordings recognised, ", end="")
        print(f"{confused} taken for another user, {missed} not recognised; ", end="")
        print(f"{len(unseen) - len(users)} strangers: {refused} refused, {accepted} accepted")
    assert right >= 0.9 * (right + confused + missed) and confused <= 0.03 * (right + missed)
    assert refused >= 0.85 * (refused + accepted)
