"""Names of strangers reach neither the terminal nor a log as they are."""

from __future__ import annotations

import ast
import io
import json
import logging
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import soundfile
from json_process import script_environment
from small_checkpoint import voice, write_checkpoint
from test_printable import controls

import vprtrain
from vprtrain import runtime
from vprtrain.__main__ import main
from vprtrain.checkpoint.state_file import STATE_FILE, encode_state, read_state
from vprtrain.commands import program
from vprtrain.commands.printing import print_lines
from vprtrain.data.preparation import Summary
from vprtrain.voiceprints.database import Voiceprints

EVIL = "\x1b[31mred\x9b2J\u202e"
SHOWN = r"\x1b[31mred\x9b2J\u202e"


class Said(NamedTuple):
    status: int
    out: str
    error: str


Run = Callable[..., Said]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """The command line in an empty folder. Whatever a command prints controls nothing."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str | Path) -> Said:
        capsys.readouterr()
        status = program.status(main, list(map(str, arguments)))
        said = Said(status, *capsys.readouterr())
        for text in (said.out, said.error):
            assert not [each for each in controls(text) if each not in "\n\t\r"], text
        return said

    return run


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("printing") / "epoch_1"
    return f"--checkpoint={write_checkpoint(folder, threshold=0.5)}"


def write_voice(path: Path, speaker: int = 0, take: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "wb") as file:
        soundfile.write(file, voice(speaker, take), 16000, format="WAV")
    return path


def test_names_of_users(run: Run, model: str, tmp_path: Path) -> None:
    audio = write_voice(tmp_path / "a.wav")
    user = "Ann\u202e 李"
    assert run("enroll", user, audio, model).out.startswith("Ann\\u202e 李: 1 recording")
    assert run("identify", audio, model).out.startswith("Ann\\u202e 李: score 1.0")
    assert json.loads(run("identify", audio, model, "--json").out)["user"] == user
    assert run("users").out == "Ann\\u202e 李\t1\n"
    assert json.loads(run("users", "--export", user).out)["user"] == user
    assert run("remove", user).out == "Ann\\u202e 李: removed\n"
    refused = run("enroll", EVIL, audio, model)
    assert refused.status == 2 and SHOWN in refused.error
    assert run("remove", "x\u202e").out == "x\\u202e: nobody is enrolled by this name\n"


def test_names_in_a_database_of_a_stranger(run: Run, tmp_path: Path) -> None:
    """Such a name is shown, or refused by an error that shows it: in one line, escaped."""
    path = tmp_path / "voiceprints.db"
    with closing(Voiceprints(path, model="m")) as voiceprints:
        voiceprints.add("Ann", np.eye(1, 16, dtype="float32"))
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("UPDATE users SET name = ?", (EVIL + "\n\tEve\t9",))
    for arguments in (("users",), ("users", "--json")):
        said = run(*arguments)
        assert "red" in said.out + said.error
        assert said.out.count("\n") <= 1 and said.error.count("\n") <= 1


def test_names_of_recordings(run: Run, model: str, tmp_path: Path) -> None:
    audio = write_voice(tmp_path / f"{EVIL}.wav")
    assert run("contrast", audio, audio, model).status == 0
    assert run("embed", audio, model).status == 0
    broken = tmp_path / f"{EVIL}\n.wav"
    broken.write_bytes(b"no audio")
    for command in (("contrast", audio, broken), ("embed", broken), ("enroll", "Ann", broken)):
        said = run(*command, model)
        assert said.status == 1 and said.error.startswith("error: ")
        assert SHOWN in said.error and said.error.count("\n") == 1
    write_voice(tmp_path / "folder" / EVIL / "0.wav")
    said = run("enroll", "--folder=folder", model)
    assert said.error.startswith(f"warning: folder/{SHOWN}: ")


def test_names_of_files_and_folders_of_other_commands(run: Run, tmp_path: Path) -> None:
    for arguments in (
        ("score", EVIL, "scores"),
        ("users", f"--voiceprints={EVIL}"),
        ("fit", "--recipe=own", f"--data.train_manifest={EVIL}"),
        ("fit", f"--recipe={EVIL}"),
        ("launch", "--", EVIL),
        (EVIL,),
    ):
        said = run(*arguments)
        assert said.status == 2 and SHOWN in said.error and said.error.count("\n") == 1


def test_ids_in_lists_that_are_scored(run: Run, tmp_path: Path) -> None:
    trials = tmp_path / "trials"
    trials.write_text(f"a {EVIL} 1\nb {EVIL} 0\nc {EVIL} 0\n")
    (tmp_path / "scores").write_text(f"a {EVIL} 0.5\nb {EVIL} 0.4\n")
    said = run("score", trials, tmp_path / "scores")
    assert said.status == 0 and SHOWN in said.error and said.error.startswith("warning: 1 trials")


def test_speakers_of_a_prepared_folder(run: Run, tmp_path: Path) -> None:
    for take in range(2):
        write_voice(tmp_path / "corpus" / EVIL / f"{take}.wav", take=take)
    write_voice(tmp_path / "corpus" / "Ann" / "0.wav")
    (tmp_path / "corpus" / EVIL / "broken.wav").write_bytes(b"no audio")
    said = run("prepare", "--from=folder", "corpus", f"--out_dir=out{EVIL}", "--check")
    assert said.status == 0 and SHOWN in said.out


def test_values_in_a_checkpoint(run: Run, tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path / "epoch_1")
    content = read_state(folder / STATE_FILE).to_json()
    content["model"]["class_path"] = EVIL
    (folder / STATE_FILE).write_bytes(encode_state(content))
    said = run("export", f"--checkpoint={folder}", "--json")
    assert said.status == 1 and json.loads(said.out)["kind"] == "checkpoint"
    assert said.error.count("\n") == 1 and SHOWN in said.error


def test_a_summary_is_escaped_line_by_line() -> None:
    summary = Summary()
    summary.count("recordings", 2)
    summary.remark_names("strange names", [f"{EVIL}\n", "b"])
    assert str(summary) == f"2 recordings\nnote: 2 strange names: {SHOWN}\\n, b"


def test_a_log_record_is_one_line_and_a_traceback_is_escaped(
    capsys: pytest.CaptureFixture[str],
) -> None:
    runtime.log_to_stderr()
    log = logging.getLogger("vprtrain.test")
    log.warning("%s is bad: %s", f"{EVIL}\n12:00:00 all is well", "李")
    try:
        raise ValueError(f"{EVIL}\r")
    except ValueError:
        log.exception("it failed")
    first, *others = capsys.readouterr().err.rstrip("\n").split("\n")
    assert first.endswith(rf" {SHOWN}\n12:00:00 all is well is bad: 李")
    assert others[0].endswith(" it failed") and others[1].startswith("Traceback")
    assert others[-1] == rf"ValueError: {SHOWN}\r" and not controls("".join(others))


def test_tabs_stay_and_what_the_encoding_lacks_is_escaped() -> None:
    raw = io.BytesIO()
    with io.TextIOWrapper(raw, encoding="ascii", newline="\n") as file:
        print_lines("a\tb\n", "李\udce9", file=file)
        file.flush()
        assert raw.getvalue() == rb"a	b\n" + b"\n" + rb"\u674e\udce9" + b"\n"


@pytest.mark.parametrize("more", [{"PYTHONIOENCODING": "ascii"}, {}])
def test_names_that_are_not_utf_8_in_a_c_locale(tmp_path: Path, more: dict[str, str]) -> None:
    environment = script_environment(LANG="C", LC_ALL="C", PYTHONUTF8="0", **more)
    command = [sys.executable, "-m", "vprtrain", "score", b"\x1b[2Jb\xfcro\n"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, timeout=60)
    assert done.returncode == 2 and done.stdout == b""
    assert b"Traceback" not in done.stderr and done.stderr.count(b"\n") == 1
    script = (
        "from types import SimpleNamespace as Options\n"
        "from vprtrain.commands.options import print_result\n"
        "print_result(Options(json=False), {}, 'b\\udcfcro \\u674e\\x1b')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(rb"b\udcfcro ") and done.stdout.endswith(b"\\x1b\n")


def test_progress_bars_are_for_terminals_only() -> None:
    """A bar in a log is hundreds of lines. EtaLogger asks for the terminal itself."""
    calls = {}
    for path in sorted(Path(vprtrain.__file__).parent.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "tqdm":
                calls[f"{path.name}:{node.lineno}"] = [each.arg for each in node.keywords]
    assert len(calls) >= 6
    careless = [where for where, options in calls.items() if "disable" not in options]
    assert {where.partition(":")[0] for where in careless} == {"eta_logger.py"}
