"""``benchmarks/conversations.py`` makes the conversations of docs/benchmarks again."""

from __future__ import annotations

import csv
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from tonal_voices import RATE, tonal_voice

from vprtrain.lists import read_rttm

SCRIPT = Path(__file__).parents[1] / "benchmarks" / "conversations.py"


@pytest.fixture(scope="module")
def speech(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six speakers of each data set and split, and a noise and a room."""
    folder = tmp_path_factory.mktemp("speech")
    fields = ("path", "speaker", "dataset", "split", "duration")
    rows = []
    for dataset in ("librispeech", "ravdess"):
        for split in ("train", "eval"):
            for number in range(6):
                speaker = f"{dataset}-{split}-{number}"
                path = folder / "dev_pack" / speaker / "1.wav"
                path.parent.mkdir(parents=True)
                soundfile.write(path, tonal_voice(number, 3.0), RATE)
                name = str(path.relative_to(folder / "dev_pack"))
                rows.append(dict(zip(fields, (name, speaker, dataset, split, 3.0), strict=True)))
    with open(folder / "dev_pack" / "metadata.csv", "w", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fields)
        writer.writeheader()
        writer.writerows(rows)
    noise = np.random.default_rng(0).normal(0, 0.1, 3 * RATE)
    response = noise[:4000] * np.exp(-np.arange(4000) / 400)
    rooms = [f"RIRS_NOISES/simulated_rirs/{size}room" for size in ("small", "medium", "large")]
    for place in ("musan/noise", "musan/music", "musan/speech", *rooms):
        path = folder / "noise_pack" / place / "1.wav"
        path.parent.mkdir(parents=True)
        soundfile.write(path, response if place in rooms else noise, RATE)
    real = folder / "noise_pack" / "RIRS_NOISES" / "real_rirs_isotropic_noises"
    real.mkdir()
    (real / "rir_list").touch()
    return folder


def run(speech: Path, out: Path, *options: str) -> str:
    done = subprocess.run(
        [sys.executable, str(SCRIPT), str(speech), str(out), *options],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_the_conversations_are_the_same_again(speech: Path, tmp_path: Path) -> None:
    table = run(speech, tmp_path / "first", "--only=acted3_*")
    assert "| acted3_clean | 1 |" in table and "| acted3_noisy | 1 |" in table
    clean, noisy = sorted((tmp_path / "first" / "eval").glob("*.wav"))
    assert clean.stem == "acted3_clean_0000" and noisy.stem == "acted3_noisy_0000"
    assert soundfile.info(noisy).duration == 300
    turns = [next(iter(read_rttm(each.with_suffix(".rttm")).values())) for each in (clean, noisy)]
    assert turns[0] == turns[1] and clean.read_bytes() != noisy.read_bytes()
    assert {turn.speaker.rpartition("-")[0] for turn in turns[0]} == {"ravdess-eval"}

    run(speech, tmp_path / "second", "--only=acted3_noisy_*")
    assert (tmp_path / "second" / "eval" / noisy.name).read_bytes() == noisy.read_bytes()
    before = noisy.stat().st_mtime_ns
    run(speech, tmp_path / "first", "--only=acted3_noisy_*")
    assert noisy.stat().st_mtime_ns == before


def test_training_speakers_have_conversations_of_their_own(speech: Path, tmp_path: Path) -> None:
    run(speech, tmp_path, "--split=train", "--only=libri2_clean_0001")
    (path,) = (tmp_path / "train").glob("*.rttm")
    ((_, turns),) = read_rttm(path).items()
    assert {turn.speaker.rpartition("-")[0] for turn in turns} == {"librispeech-train"}
