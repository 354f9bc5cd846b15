"""``vprtrain record --live``, from a recording and from a stand-in for the microphone."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
from small_checkpoint import voice, write_checkpoint

from vprtrain import Predictor, runtime
from vprtrain.commands import program
from vprtrain.commands.record import record

main = program.choose(record, description="", prog="vprtrain")
RATE = 16000


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The options of a model with one user."""
    monkeypatch.setattr(runtime, "prepare", lambda **options: None)  # signal handlers
    checkpoint = write_checkpoint(tmp_path / "epoch_1", threshold=0.9)
    predictor = Predictor(checkpoint, tmp_path / "people.db")
    predictor.register((voice(0, 0, 2.0), RATE), "Ann")
    predictor.close()
    soundfile.write(tmp_path / "ann.wav", voice(0, 1, 2.0), RATE, subtype="FLOAT")
    return [f"--checkpoint={checkpoint}", f"--voiceprints={tmp_path / 'people.db'}"]


def test_a_recording_is_listened_to(
    model: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = f"--from={tmp_path / 'ann.wav'}"
    assert program.status(main, ["record", "--live", source, "--json", *model]) == 0
    decisions = json.loads(capsys.readouterr().out)["decisions"]
    assert [each["end"] for each in decisions] == [0.5, 1.0, 1.5, 2.0]
    assert decisions[-1]["user"] == "Ann" and decisions[-1]["score"] >= 0.9
    assert program.status(main, ["record", "--live", source, "--hop=1", *model]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2 and lines[1].startswith("     2.0 s  Ann: score 0.9")
    assert "speaker" not in decisions[0]


def test_unknown_voices_are_told_apart_with_a_database_and_without(
    model: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    arguments = ["record", "--live", "--diarize", "--from=ann.wav", "--threshold=1", model[0]]
    assert program.status(main, [*arguments, model[1], "--json"]) == 0
    decisions = json.loads(capsys.readouterr().out)["decisions"]
    assert [each["speaker"] for each in decisions][-1] == "speaker_1"
    assert program.status(main, arguments) == 0  # there is no voiceprints.db
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == "     2.0 s  speaker_1: nobody is enrolled"
    assert not (tmp_path / "voiceprints.db").exists()
    assert program.status(main, [*arguments, "--voiceprints=typo.db"]) == 2
    assert "typo.db does not exist" in capsys.readouterr().err


def test_the_microphone_is_listened_to_for_its_seconds(
    model: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    spoken = np.concatenate([voice(0, 1, 1.0), np.zeros(4 * RATE, np.float32)])

    class Microphone:
        place = 0

        def read(self, frames: int) -> tuple[np.ndarray, bool]:
            self.place += frames
            chunk = spoken[self.place - frames : self.place]
            return (chunk * 32767).clip(-32768, 32767).astype(np.int16)[:, np.newaxis], False

    @contextmanager
    def input_stream(**options) -> Iterator[Microphone]:
        assert options == {"samplerate": RATE, "channels": 1, "dtype": "int16", "device": 3}
        yield Microphone()

    fake = SimpleNamespace(InputStream=input_stream, PortAudioError=OSError)
    monkeypatch.setitem(sys.modules, "sounddevice", fake)
    arguments = ["record", "--live", "--seconds=3", "--microphone=3", *model]
    assert program.status(main, arguments) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 6 and "Ann" in lines[1] and lines[5].endswith("3.0 s  nobody speaks")


def test_without_a_database_there_is_one_line(
    model: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["record", "--live", model[0], "--voiceprints=none.db"]
    assert program.status(main, arguments) == 2
    assert "none.db does not exist" in capsys.readouterr().err
    assert program.status(main, ["record", "--live", "--seconds=0", *model]) == 2
