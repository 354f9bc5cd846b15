from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from vprtrain.commands import program
from vprtrain.commands.config import CommandParser
from vprtrain.errors import RunError, UsageError

ROOT = Path(__file__).resolve().parents[2]


def fails_with(error: BaseException) -> program.Main:
    def main(arguments: list[str]) -> int:
        raise error

    return main


@pytest.mark.parametrize(("returned", "expected"), [(None, 0), (0, 0), (3, 3)])
def test_what_main_returns_is_the_status(returned: int | None, expected: int) -> None:
    assert program.status(lambda arguments: returned, []) == expected


@pytest.mark.parametrize(
    ("error", "expected", "line"),
    [
        (UsageError("no such file:\n  a.tsv"), 2, "error: no such file: a.tsv\n"),
        (RunError("the loss is NaN"), 1, "error: the loss is NaN\n"),
        (KeyboardInterrupt(), 130, ""),
    ],
)
def test_status_and_line_of_an_error(
    error: BaseException, expected: int, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert program.status(fails_with(error), []) == expected
    assert capsys.readouterr() == ("", line)


def test_system_exit_passes() -> None:
    with pytest.raises(SystemExit) as left:
        program.status(fails_with(SystemExit(143)), [])
    assert left.value.code == 143


@pytest.mark.parametrize("number", ["SIGTERM", "SIGINT"])
@pytest.mark.parametrize(("ends", "status"), [("return 3", 3), ("sys.exit(143)", 143)])
def test_run_exits_with_the_status_though_signals_go_on(
    ends: str, status: int, number: str
) -> None:
    """G5: Paddle's launcher sends SIGTERM three times, and the last ones may come while the
    interpreter ends."""
    script = (
        "import atexit, os, signal, sys\n"
        "from vprtrain.commands import program\n"
        f"atexit.register(os.kill, os.getpid(), signal.{number})\n"
        f"def main(arguments): {ends}\n"
        "program.run(main)\n"
    )
    assert subprocess.run([sys.executable, "-c", script], cwd=ROOT, timeout=60).returncode == status


def test_a_signal_that_comes_as_signals_are_being_ignored_is_the_last() -> None:
    """Its handler raises in the midst of that; what follows must not kill the interpreter all the
    same."""
    code = (
        "import atexit, os, signal, sys\n"
        "from vprtrain.commands import program\n"
        "def stop(number, frame):\n"
        "    sys.exit(128 + number)\n"
        "def ending(frame, event, argument):\n"
        "    if event == 'call' and frame.f_code.co_name == '_ignore_stop_signals':\n"
        "        sys.setprofile(None)\n"
        "        os.kill(os.getpid(), signal.SIGTERM)\n"
        "signal.signal(signal.SIGTERM, stop)\n"
        "atexit.register(lambda: print(*(signal.getsignal(each).name for each in (signal.SIGTERM, "
        "signal.SIGINT))))\n"
        "sys.setprofile(ending)\n"
        "program.run(lambda arguments: 0, [])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (143, "SIG_IGN SIG_IGN\n"), done.stderr


def test_an_unforeseen_error_names_its_place_in_the_package(
    capsys: pytest.CaptureFixture[str],
) -> None:
    def main(arguments: list[str]) -> int:
        from vprtrain.commands.option_names import closest

        closest(3, ["a"])  # type: ignore[arg-type]
        return 0

    assert program.status(main, []) == 1
    shown = capsys.readouterr().err
    assert shown.startswith("error: AttributeError: 'int' object has no attribute")
    assert "(in vprtrain/commands/option_names.py, line " in shown
    assert shown.endswith("; run again with --debug for the traceback\n")
    assert shown.count("\n") == 1


def test_an_unforeseen_error_elsewhere_names_the_innermost_place(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert program.status(fails_with(ZeroDivisionError()), []) == 1
    assert (
        "ZeroDivisionError: without a message (in test_program.py, line " in capsys.readouterr().err
    )


@pytest.mark.parametrize("way", ["argument", "environment"])
def test_debug_shows_the_traceback(
    way: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[list[str]] = []

    def main(arguments: list[str]) -> int:
        seen.append(arguments)
        raise RunError("no")

    if way == "environment":
        monkeypatch.setenv("VPRTRAIN_DEBUG", "1")
    assert (
        program.status(main, ["fit", "--debug", "--x"] if way == "argument" else ["fit", "--x"])
        == 1
    )
    assert seen == [["fit", "--x"]]
    shown = capsys.readouterr().err
    assert "Traceback (most recent call last)" in shown
    assert shown.endswith("\nerror: no\n")


def greet(parser: CommandParser, arguments: list[str]) -> int:
    """Greet somebody.

    More than anybody wants to know.
    """
    parser.add_argument("--name", type=str, default="you", help="who")
    print(f"hello {parser.parse_args(arguments).name}")
    return 5


def leave(parser: CommandParser, arguments: list[str]) -> None:
    """Say goodbye."""
    parser.parse_args(arguments)


greeter = program.choose(greet, leave, description="Say something.", prog="say")


def test_a_command_is_chosen_and_parses_its_own_options(capsys: pytest.CaptureFixture[str]) -> None:
    assert program.status(greeter, ["greet", "--name=Ann"]) == 5
    assert capsys.readouterr().out == "hello Ann\n"
    assert program.status(greeter, ["leave"]) == 0


@pytest.mark.parametrize("arguments", [[], ["--help"], ["-h"]])
def test_the_overview_lists_the_commands(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert program.status(greeter, arguments) == 0
    shown = capsys.readouterr().out
    assert "usage: say COMMAND" in shown
    assert "  greet  Greet somebody.\n  leave  Say goodbye.\n" in shown


def test_a_commands_help_has_its_docstring_and_options(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        program.status(greeter, ["greet", "--help"])
    assert left.value.code == 0
    shown = capsys.readouterr().out
    assert "usage: say greet" in shown
    assert "More than anybody wants to know." in shown
    assert "--name NAME" in shown


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (
            ["gret"],
            "error: unknown command 'gret': the closest is 'greet' (--help explains them)\n",
        ),
        (["qqq"], "error: unknown command 'qqq': known are greet, leave (--help explains them)\n"),
        (
            ["greet", "--nme=x"],
            "error: unknown option '--nme': the closest is '--name' (--help lists all options)\n",
        ),
    ],
)
def test_a_misspelt_command_line(
    arguments: list[str], line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert program.status(greeter, arguments) == 2
    assert capsys.readouterr() == ("", line)


def test_a_reader_that_left_is_not_a_failure_with_a_traceback() -> None:
    script = (
        "from vprtrain.commands import program\n"
        "program.run(lambda arguments: print('line\\n' * 200_000))"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None and process.stderr is not None
    assert process.stdout.readline() == "line\n"
    process.stdout.close()
    assert process.stderr.read() == ""
    assert process.wait(timeout=60) == 141
    process.stderr.close()
