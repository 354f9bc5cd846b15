"""Who speaks when, with a published CAM++ and real speech."""

from __future__ import annotations

import csv
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
import soundfile

from vprtrain import Predictor
from vprtrain.commands import program
from vprtrain.commands.main import main
from vprtrain.conversion import convert
from vprtrain.data.audio import read_audio
from vprtrain.lists import Segment
from vprtrain.scoring.diarization import score_diarization

pytestmark = pytest.mark.slow
RATE = 16000


@pytest.fixture(scope="module")
def model(test_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    weights = test_data / "pretrained" / "campplus_cn_en_common.pt"
    if not weights.exists():
        pytest.skip(f"no published model at {weights}")
    folder = tmp_path_factory.mktemp("published") / "model"
    convert("3dspeaker", weights, folder)
    return folder


@pytest.fixture(scope="module")
def turns(test_data: Path) -> list[tuple[str, np.ndarray]]:
    """Nine turns of three speakers who are not in the training data, without edges of silence."""
    spoken = defaultdict(list)
    with open(test_data / "dev_pack" / "metadata.csv", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            if row["dataset"] == "librispeech" and row["split"] == "eval":
                spoken[row["speaker"]].append(test_data / "dev_pack" / row["path"])
    three = [(name, paths) for name, paths in sorted(spoken.items()) if len(paths) >= 3][:3]
    return [(name, read_audio(paths[turn])) for turn in range(3) for name, paths in three]


def conversation(turns: list[tuple[str, np.ndarray]]) -> tuple[np.ndarray, list[Segment]]:
    pause, samples, segments = np.zeros(RATE // 4, np.float32), [], []
    for speaker, waveform in turns:
        start = sum(map(len, samples)) / RATE
        segments.append(Segment(start, start + len(waveform) / RATE, speaker))
        samples += [waveform, pause]
    return np.concatenate(samples), segments


@pytest.mark.parametrize("vad", ["energy", "silero"])
def test_three_people_are_told_apart(
    model: Path, turns: list[tuple[str, np.ndarray]], vad: str
) -> None:
    samples, reference = conversation(turns)
    for num_speakers in (None, 3):
        found = Predictor(model, vad=vad).diarize((samples, RATE), num_speakers)
        errors = score_diarization(reference, found, collar=0.25)
        assert len({each.speaker for each in found}) == 3
        assert errors.confusion / errors.speech < 0.03


def test_a_recording_of_two_people_is_not_enrolled(
    model: Path,
    turns: list[tuple[str, np.ndarray]],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    by_speaker = defaultdict(list)
    for speaker, waveform in turns:
        by_speaker[speaker].append((speaker, waveform))
    first, second, _ = by_speaker.values()
    soundfile.write(tmp_path / "one.wav", conversation(first)[0], RATE)
    soundfile.write(tmp_path / "two.wav", conversation([*first, *second])[0], RATE)
    options = [f"--checkpoint={model}", f"--voiceprints={tmp_path / 'people.db'}"]

    def enrolled(name: str, *more: str) -> int:
        return program.status(main, ["enroll", "Ann", str(tmp_path / name), *options, *more])

    assert enrolled("one.wav", "--check_single_speaker") == 0
    assert enrolled("two.wav", "--check_single_speaker") == 1
    assert "two.wav: 2 voices, of " in capsys.readouterr().err
    assert enrolled("two.wav") == 0
