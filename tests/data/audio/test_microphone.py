"""Recording through a stand-in for sounddevice."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile

from vprtrain.commands import program
from vprtrain.commands.record import record

main = program.choose(record, description="", prog="vprtrain")


class PortAudioError(Exception):
    pass


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[dict]:
    """The calls of the stand-in for sounddevice, which records a ramp."""
    asked: list[dict] = []

    def rec(frames: int, **options) -> np.ndarray:
        asked.append({"frames": frames} | options)
        if options["device"] == "broken":
            raise PortAudioError("Invalid number of channels")
        if options["device"] == "muted":
            return np.zeros((frames, 1), "int16")
        return (np.arange(frames, dtype="int16") % 100).reshape(-1, 1)

    fake = SimpleNamespace(
        rec=rec, wait=lambda: asked.append({"waited": True}), PortAudioError=PortAudioError
    )
    monkeypatch.setitem(sys.modules, "sounddevice", fake)
    return asked


def test_a_file_of_16_bits_is_written(
    calls: list[dict], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "me.wav"
    arguments = [
        "record",
        str(out),
        "--seconds=0.5",
        "--sample_rate=8000",
        "--microphone=2",
        "--json",
    ]
    assert program.status(main, arguments) == 0
    assert json.loads(capsys.readouterr().out) == {"path": str(out), "seconds": 0.5}
    expected = {"frames": 4000, "samplerate": 8000, "channels": 1, "dtype": "int16", "device": 2}
    assert calls == [expected, {"waited": True}]
    samples, rate = soundfile.read(out, dtype="int16")
    assert rate == 8000 and soundfile.info(out).subtype == "PCM_16"
    np.testing.assert_array_equal(samples, np.arange(4000) % 100)


def test_the_name_need_not_be_utf_8(
    calls: list[dict], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / os.fsdecode(b"b\xfcro.wav")
    assert program.status(main, ["record", str(out), "--seconds=0.1"]) == 0
    assert capsys.readouterr().out.endswith("/b\\udcfcro.wav: 0.1 s\n") and out.is_file()


def test_silence_is_said(
    calls: list[dict], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert program.status(main, ["record", str(tmp_path / "me.wav"), "--microphone=muted"]) == 0
    assert "muted?" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (("--microphone=broken",), 1, "recording failed (Invalid number of channels)"),
        (("--seconds=0",), 2, "--seconds is 0"),
        (("--seconds=nan",), 2, "option '--seconds'"),
        (("--seconds=1e9",), 2, "expected up to 3600 s"),
        (("--sample_rate=0",), 2, "--sample_rate 0"),
    ],
)
def test_what_cannot_be_recorded(
    calls: list[dict],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: tuple,
    status: int,
    said: str,
) -> None:
    assert program.status(main, ["record", str(tmp_path / "me.wav"), *arguments]) == status
    error = capsys.readouterr().err
    assert said in error and error.count("error:") == 1
    assert not list(tmp_path.iterdir())


def test_nothing_is_overwritten(
    calls: list[dict], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "me.wav").write_text("precious")
    assert program.status(main, ["record", str(tmp_path / "me.wav")]) == 2
    assert program.status(main, ["record", str(tmp_path / "nowhere" / "me.wav")]) == 2
    assert (tmp_path / "me.wav").read_text() == "precious" and not calls


def test_without_the_extra_one_line_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    assert program.status(main, ["record", str(tmp_path / "me.wav")]) == 2
    assert (
        capsys.readouterr().err
        == "error: recording needs sounddevice: pip install 'vprtrain[mic]'\n"
    )


def test_without_portaudio_one_line_says_so(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "sounddevice.py").write_text("raise OSError('PortAudio library not found')")
    monkeypatch.delitem(sys.modules, "sounddevice", raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    assert program.status(main, ["record", str(tmp_path / "me.wav")]) == 2
    assert "PortAudio library not found" in capsys.readouterr().err
