"""``vprtrain simulate``."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from conversation_material import make_manifest, make_noise

from vprtrain.commands import program
from vprtrain.commands.score import score
from vprtrain.commands.simulate import simulate

main = program.choose(simulate, score, description="", prog="vprtrain")


def test_conversations_are_made_and_can_be_scored(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    manifest = make_manifest(tmp_path / "material")
    rirs, musan = make_noise(tmp_path / "noise")
    out = tmp_path / "out"
    command = ["simulate", str(manifest), f"--out={out}", "--conversations=2", "--json"]
    command += ["--seconds=20", "--speakers=[2,3]", f"--rooms={rirs}", f"--noise={musan}"]
    assert program.status(main, command) == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["folder"], said["conversations"], said["seconds"]) == (str(out), 2, 40.0)
    assert 5 < said["speech"] < 80
    names = [f"conversation_{number:04d}" for number in (0, 1)]
    assert sorted(path.name for path in out.iterdir()) == [
        f"{name}.{suffix}" for name in names for suffix in ("rttm", "uem", "wav")
    ]
    assert program.status(main, ["score", "--rttm", str(out), str(out), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["der"], sorted(found["recordings"])) == (0.0, names)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--conversations=0"], "--conversations is 0; expected a whole number"),
        (["--seconds=-1"], "seconds is -1.0; expected"),
        (["--speakers=[2,9]"], "expected at least 9"),
        (["--speakers=7"], "expected at least 7"),
        (["--speakers=0"], "speakers, the fewest is 0; expected"),
        (["--rooms=none.tsv"], "none.tsv does not exist; make it with vprtrain prepare --rirs"),
        (["--seed=-1"], "seed is -1; expected"),
        (["--name=../x"], "--name is '../x': expected the beginning of a file's name"),
    ],
)
def test_bad_options_are_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], said: str
) -> None:
    manifest = make_manifest(tmp_path / "material", utterances=1)
    assert program.status(main, ["simulate", str(manifest), *options]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("error:") == 1


def test_a_recording_that_cannot_be_written_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """libsndfile's error is not an OSError."""
    manifest = make_manifest(tmp_path / "material", utterances=1)
    name = "n" * 300  # longer than a file system takes
    command = ["simulate", str(manifest), f"--out={tmp_path / 'out'}", f"--name={name}"]
    assert program.status(main, [*command, "--seconds=20", "--speakers=2"]) == 1
    error = capsys.readouterr().err
    assert "cannot be written" in error and error.count("error:") == 1
    assert not list((tmp_path / "out").iterdir())
