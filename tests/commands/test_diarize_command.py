"""``vprtrain diarize``."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
from small_checkpoint import voice, write_checkpoint

from vprtrain.commands import program
from vprtrain.commands.main import main
from vprtrain.lists import read_rttm

RATE = 16000


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("diarize") / "epoch_1", threshold=0.9)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder: talk.wav, silent.wav, short.wav, two.wav and empty.wav."""
    monkeypatch.chdir(tmp_path)
    pause = np.zeros(RATE, np.float32)
    turns = [voice(number % 2, number, seconds=4.0) for number in range(5)]
    talk = np.concatenate([part for turn in turns for part in (pause, turn)])
    soundfile.write("talk.wav", talk, RATE)
    soundfile.write("two.wav", talk[: 11 * RATE], RATE)
    soundfile.write("short.wav", voice(0, seconds=2.0), RATE)
    soundfile.write("silent.wav", np.zeros(3 * RATE), RATE)
    (tmp_path / "empty.wav").write_bytes(b"")
    return tmp_path


def run(
    capsys: pytest.CaptureFixture[str], checkpoint: Path, command: str, *arguments: str
) -> tuple[int, str, str]:
    status = program.status(
        main, [command, *arguments, f"--checkpoint={checkpoint}", "--vad=energy", "--device=cpu"]
    )
    said = capsys.readouterr()
    return status, said.out, said.err


def test_the_segments_are_printed_and_written(
    capsys: pytest.CaptureFixture[str], checkpoint: Path, folder: Path
) -> None:
    status, out, _ = run(capsys, checkpoint, "diarize", "talk.wav", "--num_speakers=2", "--json")
    segments = json.loads(out)["segments"]
    assert status == 0 and len(segments) >= 5
    assert all(set(each) == {"start", "end", "speaker"} for each in segments)
    assert segments[0]["start"] == pytest.approx(1.0, abs=0.3)
    files = ("--out=talk.rttm", "--plot=talk.png")
    status, out, _ = run(capsys, checkpoint, "diarize", "talk.wav", "--num_speakers=2", *files)
    assert status == 0 and "speakers: speaker_1 " in out and "written to talk.png" in out
    written = read_rttm("talk.rttm")["talk"]
    assert [each.speaker for each in written] == [each["speaker"] for each in segments]
    assert [each.start for each in written] == pytest.approx(
        [each["start"] for each in segments], abs=1e-3
    )
    assert (folder / "talk.png").read_bytes().startswith(b"\x89PNG")
    status, out, _ = run(capsys, checkpoint, "diarize", "short.wav")
    assert status == 0 and "1 speakers: speaker_1 " in out and "0.00 " in out


def test_a_user_is_named(
    capsys: pytest.CaptureFixture[str], checkpoint: Path, folder: Path
) -> None:
    status, *_ = run(capsys, checkpoint, "enroll", "Ann", "short.wav")
    assert status == 0
    named = ("diarize", "short.wav", "--voiceprints=voiceprints.db", "--threshold=0.5")
    status, out, _ = run(capsys, checkpoint, *named)
    assert status == 0 and "Ann" in out and "speaker_" not in out


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["empty.wav"], 1, "empty.wav: empty (0 bytes)"),
        (["missing.wav"], 1, "missing.wav: No such file"),
        (["short.wav", "--num_speakers=100"], 2, "num_speakers is 100, but the recording has"),
        (["short.wav", "--num_speakers=0"], 2, "num_speakers is 0"),
        (["short.wav", "--max_speakers=0"], 2, "max_speakers is 0"),
        (["short.wav", "--out=a.mp3"], 2, "a.mp3"),
        (["short.wav", "--plot=a.jpg"], 2, "a.jpg has another suffix: expected .png"),
        (["short.wav", "--out=no/a.rttm"], 2, "there is no folder for --out no/a.rttm"),
        (["short.wav", "--voiceprints=no.db"], 2, "no.db does not exist"),
    ],
)
def test_what_cannot_be_is_one_line(
    capsys: pytest.CaptureFixture[str],
    checkpoint: Path,
    folder: Path,
    arguments: list[str],
    status: int,
    message: str,
) -> None:
    found, out, error = run(capsys, checkpoint, "diarize", *arguments)
    assert found == status and not out
    assert error.startswith("error: ") and message in error and error.count("\n") == 1


def test_in_silence_nobody_speaks(
    capsys: pytest.CaptureFixture[str], checkpoint: Path, folder: Path
) -> None:
    assert run(capsys, checkpoint, "diarize", "silent.wav")[:2] == (0, "nobody speaks\n")
    status, out, _ = run(capsys, checkpoint, "diarize", "silent.wav", "--json")
    assert status == 0 and json.loads(out) == {"segments": []}
