"""``vprtrain score --rttm``: who speaks when."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from vprtrain.commands import program
from vprtrain.commands.score import score
from vprtrain.lists import Segment, write_segments

main = program.choose(score, description="", prog="vprtrain")


@pytest.fixture(autouse=True)
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The folders ``ref`` and ``hyp`` with the recordings a and b, of which one is not found."""
    monkeypatch.chdir(tmp_path)
    for folder in ("ref", "hyp"):
        Path(folder).mkdir()
    for name, end in (("a", 10), ("b", 30)):
        write_segments(f"ref/{name}.rttm", [Segment(0, end, "ann")], recording=name)
    write_segments("hyp/a.rttm", [Segment(0, 11, "x")], recording="a")
    Path("all.uem").write_text("a 1 0 10.5\n")


def test_the_table_is_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    assert program.status(main, ["score", "--rttm", "ref", "hyp"]) == 0
    said = capsys.readouterr()
    assert [" ".join(line.split()) for line in said.out.splitlines()] == [
        "recording speech DER missed false alarm confusion JER speakers found",
        "a 10.0 s 10.00% 0.00% 10.00% 0.00% 9.09% 1 1",
        "b 30.0 s 100.00% 100.00% 0.00% 0.00% 100.00% 1 0",
        "all recordings 40.0 s 77.50% 75.00% 2.50% 0.00% 54.55% 2 1",
    ]
    assert said.err == ("warning: recordings not in hyp, scored as if no speech was found (1): b\n")


def test_the_options_count_and_the_json_is_one_object(capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--uem=all.uem", "--collar=0.25", "--skip_overlap", "--json", "--out=report"]
    assert program.status(main, ["score", "--rttm", "ref", "hyp", *options]) == 0
    said = capsys.readouterr()
    found = json.loads(said.out)
    assert found["speech"] == 9.5
    assert found["der"] == pytest.approx(0.25 / 9.5)
    assert (found["collar"], found["skip_overlap"], found["unlisted"]) == (0.25, True, ["b"])
    assert "recordings not in all.uem, ignored (1): b" in said.err
    assert json.loads(Path("report/report.json").read_text())["der"] == found["der"]


def test_without_scored_speech_a_warning_says_why(capsys: pytest.CaptureFixture[str]) -> None:
    assert program.status(main, ["score", "--rttm", "ref", "hyp", "--collar=60"]) == 0
    assert "no speech of the reference is scored" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--rttm", "ref", "none"], "none: no such file; expected lines of 'SPEAKER"),
        (["--rttm", "ref", "all.uem"], "all.uem, line 1: expected 'SPEAKER"),
        (["--rttm", "ref/b.rttm", "hyp"], "the hypothesis has none of the recordings"),
        (["--rttm", "ref", "hyp", "--collar=-1"], "collar is -1.0; expected"),
        (["--rttm", "ref", "hyp", "--llr"], "--llr is for trials, and does not go with --rttm"),
        (["--rttm", "ref", "hyp", "--uem=ref/a.rttm"], "line 1: expected 'recording channel"),
        (["ref", "hyp", "--collar=0.25"], "--collar goes with --rttm"),
        (["ref", "hyp", "--out=x"], "--out goes with --rttm"),
    ],
)
def test_mistakes_are_one_line(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert program.status(main, ["score", *arguments]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert len(error.splitlines()) == 1
