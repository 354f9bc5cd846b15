"""The published CAM++ on real speech: its error rates, and its use by a newcomer."""

from __future__ import annotations

import csv
import json
import shutil
import subprocess
import sys
from collections import Counter, defaultdict
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
    """The first recordings of the first LibriSpeech speakers that have three or more."""
    found: dict[str, list[Path]] = defaultdict(list)
    with open(test_data / "dev_pack" / "metadata.csv", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            if row["split"] == split and row["dataset"] == "librispeech":
                found[row["speaker"]].append(test_data / "dev_pack" / row["path"])
    chosen = [(name, paths[:4]) for name, paths in sorted(found.items()) if len(paths) >= 3]
    return dict(chosen[:most])


def test_a_newcomer_calibrates_and_identifies(
    model: Path, test_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Calibrated on training speakers. Of the unseen ones, half are users and half are strangers:
    two recordings of each user are enrolled, all others are to be recognised or refused."""
    for speaker, paths in speakers_of(test_data, "train", 45).items():
        (tmp_path / "speakers" / speaker).mkdir(parents=True)
        for path in paths:
            shutil.copy(path, tmp_path / "speakers" / speaker)
    mine = tmp_path / "mine"
    printed = vprtrain(
        *("calibrate", f"--checkpoint={model}", f"--from={tmp_path / 'speakers'}"),
        *("--fa_rate=0.001", f"--out={mine}"),
    )
    predictor = Predictor(mine, tmp_path / "people.db")
    unseen = speakers_of(test_data, "eval", 28)
    users = {*list(unseen)[::2]}
    outcomes: Counter[str] = Counter()
    for speaker, paths in unseen.items():
        for path in paths[:2] if speaker in users else []:
            predictor.register(path, speaker)
    for speaker, paths in unseen.items():
        for path in paths[2:] if speaker in users else paths:
            found, _ = predictor.recognize(path)
            if speaker in users:
                missed = "missed" if found is None else "confused"
                outcomes["recognised" if found == speaker else missed] += 1
            else:
                outcomes["refused" if found is None else "accepted"] += 1
    with capsys.disabled():
        print(
            f"\n{printed}{len(users)} unseen users, {len(unseen) - len(users)} strangers: ", end=""
        )
        print(", ".join(f"{count} {name}" for name, count in sorted(outcomes.items())))
    of_users = outcomes["recognised"] + outcomes["missed"] + outcomes["confused"]
    assert of_users >= 20 and outcomes["recognised"] >= 0.95 * of_users
    assert outcomes["refused"] >= 0.95 * (outcomes["refused"] + outcomes["accepted"])
