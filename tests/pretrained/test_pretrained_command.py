"""``vprtrain pretrained``: the list, and a model in use."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest
import soundfile
from fake_wheels import published_in, small_model, write_wheel
from small_checkpoint import voice

from vprtrain.__main__ import main
from vprtrain.commands import program
from vprtrain.pretrained import PublishedModel, Url, Wheel, catalogue, read_catalogue


def test_the_list_says_all_of_every_model(capsys: pytest.CaptureFixture[str]) -> None:
    assert program.status(main, ["pretrained", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)["models"]
    assert program.status(main, ["pretrained"]) == 0
    lines = capsys.readouterr().out
    assert "campplus-zh-en" in {model["name"] for model in listed}
    for model in listed:
        for word in (model["name"], model["licence"], model["sha256"], *model["languages"]):
            assert word in lines
        assert model["source"].get("url", model["source"].get("package")) in lines
    assert "1.10%" in lines and "not measured" in lines and "(untried)" in lines


def test_every_model_can_be_checked() -> None:
    for model in read_catalogue().values():
        assert len(bytes.fromhex(model.sha256)) == 32 and 1 << 20 < model.size < 1 << 30
        assert model.toolkit in ("3dspeaker", "wespeaker", "speechbrain")
        if isinstance(model.source, Url):
            assert model.source.url.startswith("https://")
        else:
            assert len(bytes.fromhex(model.source.sha256)) == 32
            assert model.source.size > model.size


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("campplus", "out"), "'campplus' is not a published model: the closest is 'campplus-zh'"),
        (("nothing-like-it", "out"), "known are campplus-zh-en, "),
        (("campplus-zh-en",), "expected a NAME and OUT"),
        (("--file=x",), "expected a NAME and OUT"),
        (("campplus-zh-en", "out", "--file=x"), "x is not a file"),
    ],
)
def test_a_mistake_is_one_line(
    arguments: tuple[str, ...],
    words: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert program.status(main, ["pretrained", *arguments]) == 2
    said = capsys.readouterr().err
    assert words in said and said.count("\n") == 1 and list(tmp_path.iterdir()) == []


@pytest.fixture
def voices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> PublishedModel:
    """The only model of the catalogue, whose wheel is in the working folder."""
    monkeypatch.chdir(tmp_path)
    content = small_model()
    model = published_in(write_wheel(tmp_path, content), content)
    monkeypatch.setattr(catalogue, "read_catalogue", lambda: {"voices": model})
    return model


def test_a_model_is_brought_and_the_printed_commands_run(
    voices: PublishedModel, capsys: pytest.CaptureFixture[str]
) -> None:
    assert isinstance(voices.source, Wheel)
    for speaker in range(6):
        for take in range(4):
            path = Path("FOLDER_OF_SPEAKERS", str(speaker), f"{take}.wav")
            path.parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(path, voice(speaker, take), 16000)
    for name, speaker, take in [("A", 0, 4), ("B", 0, 5), ("C", 0, 6)]:
        soundfile.write(f"{name}.wav", voice(speaker, take), 16000)
    wheel = str(next(Path().glob("*.whl")))
    assert program.status(main, ["pretrained", "voices", "a model", "--file", wheel]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "a model: voices, TDNN of 6 values" in lines[0] and "licence CC0" in lines[0]
    said = []
    for line in [line for line in lines if line.startswith("  vprtrain ")]:
        assert program.status(main, shlex.split(line)[1:]) == 0
        said += capsys.readouterr().out.splitlines()
    assert "the threshold of this model is unknown" in said[0]
    assert "6 speakers" in said[1]
    for line in [line for line in said if line.startswith("  vprtrain ")]:
        assert program.status(main, shlex.split(line)[1:]) == 0, line
    assert ": score " in capsys.readouterr().out
