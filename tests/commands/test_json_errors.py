"""With ``--json`` a command that fails prints one JSON object too: ``error`` and ``kind``."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest
from small_checkpoint import write_checkpoint

from vprtrain.checkpoint.file_names import MODEL_FILE
from vprtrain.commands import program
from vprtrain.commands.main import COMMANDS, main
from vprtrain.data.audio import AudioError
from vprtrain.errors import CheckpointError, PaddleMissingError, RunError, UsageError
from vprtrain.ranks.launcher import LaunchError
from vprtrain.scoring import ScoringError

MODEL = "--checkpoint=MODEL"
CASES = [
    # These commands have no result for programs, and do not know --json.
    ("demo", (), 2, "usage", "unknown option '--json'"),
    ("prepare", (), 2, "usage", "unknown option '--json'"),
    ("fit", ("--recipe=own",), 2, "usage", "unknown option '--json'"),
    ("serve", (MODEL,), 2, "usage", "unknown option '--json'"),
    ("launch", ("--", "fit"), 2, "usage", "unknown option '--json'"),
    ("validate", ("--checkpoint=nowhere",), 2, "usage", "nowhere is not a checkpoint"),
    ("validate", (MODEL,), 1, "checkpoint", "is not of a speaker recipe's run"),
    ("validate", ("--checkpoint=TORN",), 1, "checkpoint", MODEL_FILE),
    ("export", ("--checkpoint=nowhere",), 2, "usage", "nowhere is not a checkpoint"),
    ("export", ("--checkpoint=TORN",), 1, "checkpoint", MODEL_FILE),
    ("average", ("last-2", "--out=new", "--batches=0"), 2, "usage", "--batches is 0"),
    ("convert", ("--from=wespeaker", "x.pt", "new"), 2, "usage", "x.pt"),
    ("convert", ("--from=nobody", "x.pt", "new"), 2, "usage", "option '--from'"),
    ("pretrained", ("nothing", "new"), 2, "usage", "not a published model"),
    ("pretrained", ("campplus-zh-en", "new", "--file=scores"), 2, "usage", "expected 28044640"),
    ("calibrate", (MODEL, "--from=nowhere", "--out=new"), 2, "usage", "nowhere is not a folder"),
    ("calibrate", ("--checkpoint=TORN", "--from=.", "--out=new"), 1, "checkpoint", MODEL_FILE),
    ("score", ("no_trials", "scores"), 2, "usage", "no_trials"),
    ("score", ("one_sided", "scores"), 1, "run", "non-target"),
    ("contrast", ("a.wav",), 2, "usage", "second"),
    ("contrast", ("text.wav", "text.wav", MODEL), 1, "audio", "text.wav"),
    ("contrast", ("a.wav", "b.wav", "--checkpoint=TORN"), 1, "checkpoint", MODEL_FILE),
    ("embed", ("nowhere.wav", MODEL), 1, "audio", "nowhere.wav"),
    ("enroll", (MODEL,), 2, "usage", "expected a NAME"),
    ("enroll", ("Ann", "text.wav", MODEL), 1, "audio", "text.wav"),
    ("identify", ("text.wav", MODEL), 2, "usage", "voiceprints.db does not exist"),
    ("users", (), 2, "usage", "voiceprints.db does not exist"),
    ("diarize", ("text.wav", MODEL), 1, "audio", "text.wav"),
    ("simulate", ("nowhere.tsv", "--out=new"), 2, "usage", "nowhere.tsv"),
    ("remove", ("Ann",), 2, "usage", "voiceprints.db does not exist"),
    ("record", ("text.wav",), 2, "usage", "text.wav"),
    ("record", ("x.wav", "--seconds=-1"), 2, "usage", "--seconds is -1"),
    ("nothing", (), 2, "usage", "unknown command 'nothing'"),
]


class Said(NamedTuple):
    status: int
    out: str
    error: str


def fails_with(error: BaseException) -> program.Main:
    def main(arguments: list[str]) -> int:
        raise error

    return main


def object_in(text: str) -> dict[str, str]:
    """The one JSON object that is the whole text."""
    assert text.count("\n") == 1 and text.endswith("\n"), text
    found: dict[str, str] = json.loads(text)
    assert found.keys() == {"error", "kind"}
    return found


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Paths of a checkpoint, and of one whose weights are cut off."""
    folder = tmp_path_factory.mktemp("json")
    torn = write_checkpoint(folder / "torn")
    (torn / MODEL_FILE).write_bytes((torn / MODEL_FILE).read_bytes()[:1000])
    return {"MODEL": str(write_checkpoint(folder / "epoch_1")), "TORN": str(torn)}


def test_every_command_has_a_case() -> None:
    assert {command.__name__ for command in COMMANDS} <= {case[0] for case in CASES}


@pytest.mark.parametrize(("command", "arguments", "status", "kind", "words"), CASES)
def test_a_command_that_fails_prints_one_object(
    command: str,
    arguments: tuple[str, ...],
    status: int,
    kind: str,
    words: str,
    models: dict[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("text.wav").write_text("no audio")
    Path("one_sided").write_text("a b 1\n")
    Path("scores").write_text("a b 0.5\n")
    for name, path in models.items():
        arguments = tuple(argument.replace(name, path) for argument in arguments)
    capfd.readouterr()
    ended = program.status(main, [command, "--json", *arguments])
    said = Said(ended, *capfd.readouterr())
    found = object_in(said.out)
    assert (said.status, found["kind"]) == (status, kind) and words in found["error"]
    assert said.error.splitlines()[-1] == f"error: {found['error']}"


@pytest.mark.parametrize(
    ("error", "status", "kind"),
    [
        (UsageError("no"), 2, "usage"),
        (PaddleMissingError(), 2, "usage"),
        (ModuleNotFoundError("no paddle", name="paddle"), 2, "usage"),
        (RunError("no"), 1, "run"),
        (ScoringError("no"), 1, "run"),
        (LaunchError("no", 7), 7, "run"),
        (CheckpointError("no"), 1, "checkpoint"),
        (AudioError("no"), 1, "audio"),
        (ZeroDivisionError("no"), 1, "internal"),
        (MemoryError(), 1, "internal"),
        (KeyboardInterrupt(), 130, "interrupted"),
    ],
)
def test_status_and_kind_of_an_error(
    error: BaseException, status: int, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert program.status(fails_with(error), ["score", "--json"]) == status
    assert object_in(capsys.readouterr().out)["kind"] == kind
    assert program.status(fails_with(error), ["score"]) == status
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_to_stop_is_an_interruption(
    number: signal.Signals, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        program.status(fails_with(SystemExit(128 + number)), ["--json"])
    found = object_in(capsys.readouterr().out)
    assert found == {"error": f"interrupted by {number.name}", "kind": "interrupted"}


@pytest.mark.parametrize("code", [0, 3, 255, "text", None])
def test_another_system_exit_adds_nothing(code: object, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        program.status(fails_with(SystemExit(code)), ["--json"])
    assert capsys.readouterr() == ("", "")


def test_the_option_of_a_launched_command_is_not_the_launchers(
    capsys: pytest.CaptureFixture[str],
) -> None:
    failing = fails_with(RunError("no"))
    assert program.status(failing, ["launch", "--", "vprtrain", "validate", "--json"]) == 1
    assert capsys.readouterr() == ("", "error: no\n")


def test_only_rank_0_prints_the_object(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PADDLE_TRAINER_ID", "1")
    assert program.status(fails_with(RunError("no")), ["validate", "--json"]) == 1
    assert capsys.readouterr() == ("", "error: no\n")


def test_the_message_keeps_a_strange_name_on_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    message = "\x1b[31mr\udce9d\n\u202e.wav: silent"
    assert program.status(fails_with(AudioError(message)), ["embed", "--json"]) == 1
    said = capsys.readouterr()
    assert object_in(said.out)["error"] == "\x1b[31mr\udce9d \u202e.wav: silent"
    assert said.err == "error: \\x1b[31mr\\udce9d \\u202e.wav: silent\n"


def test_debug_adds_the_traceback_on_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert program.status(fails_with(RunError("no\x1b")), ["score", "--json", "--debug"]) == 1
    said = capsys.readouterr()
    assert object_in(said.out) == {"error": "no\x1b", "kind": "run"}
    assert said.err.startswith("Traceback") and said.err.endswith("\nerror: no\\x1b\n")
    assert "\x1b" not in said.err


SCRIPT = """
from vprtrain.commands import program
from vprtrain.errors import UsageError
def main(arguments):
    {action}
program.run(main, ["--json"])
"""


@pytest.mark.parametrize(
    ("action", "broken", "full"),
    [
        ("raise UsageError('no')", 2, 2),
        ("raise KeyboardInterrupt", 130, 130),
        ("print('{}')", 141, 1),
    ],
)
def test_nobody_reads_what_is_printed(action: str, broken: int, full: int) -> None:
    """The status stays that of the error, and Python has nothing to report at exit."""
    command = [sys.executable, "-c", SCRIPT.replace("{action}", action)]
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb") as pipe:
        done = subprocess.run(command, stdout=pipe, stderr=subprocess.PIPE, timeout=60)
    assert done.returncode == broken and b"Traceback" not in done.stderr, done.stderr
    with open("/dev/full", "wb") as disk:
        done = subprocess.run(command, stdout=disk, stderr=subprocess.PIPE, timeout=60)
    assert done.returncode == full, done.stderr
    assert b"Traceback" not in done.stderr and done.stderr.count(b"\n") <= 1
