"""What every program shares: it chooses a command, and ends with a status and one readable line."""

from __future__ import annotations

import inspect
import json
import os
import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from itertools import takewhile
from pathlib import Path
from typing import NamedTuple, NoReturn

from vprtrain.commands.config import CommandParser
from vprtrain.commands.option_names import closest
from vprtrain.commands.printing import print_lines
from vprtrain.errors import ErrorKind, PaddleMissingError, UsageError, VprTrainError
from vprtrain.ranks.launched_ranks import launched_rank

Main = Callable[[list[str]], int | None]
"""A program: its arguments to its exit status; ``None`` is 0."""
Command = Callable[[CommandParser, list[str]], int | None]
"""A function that declares its options on the parser, parses the arguments and does its work.

``--help`` shows its name and its docstring, the overview only the first line. It imports slow
modules inside the function, so that other commands need not wait for them."""

DEBUG = "VPRTRAIN_DEBUG"
_BROKEN_PIPE = 128 + 13  # the status after SIGPIPE, which Python ignores


def run(main: Main, arguments: Sequence[str] | None = None) -> NoReturn:
    """Call ``main`` with the arguments, by default those of the process, and exit with its status.

    :func:`status` says which status that is.
    """
    try:
        code = status(main, sys.argv[1:] if arguments is None else arguments)
    finally:
        # Launchers send SIGTERM several times, and people press Ctrl-C twice: neither may kill the
        # interpreter while it shuts down.
        try:
            _ignore_stop_signals()
        finally:  # a handler may raise during the first call, before both signals are ignored
            _ignore_stop_signals()
    sys.exit(code)


def _ignore_stop_signals() -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)


def status(main: Main, arguments: Sequence[str]) -> int:
    """The exit status of ``main(arguments)``: what it returns (``None`` is 0), or its error's.

    A :class:`VprTrainError` brings its own status; the status of any other error is 1. Both are
    reported in one line on standard error. With ``--debug`` among the arguments, or with
    ``VPRTRAIN_DEBUG=1`` set, the traceback comes before it. With ``--json`` (before any ``--``),
    rank 0 also prints a JSON object with ``error``, the message, and ``kind`` on standard output.
    The status is 130 after Ctrl-C, and 141 when the reader of standard output has closed it.
    ``SystemExit`` passes through.
    """
    report = _Report(
        debug="--debug" in arguments or os.environ.get(DEBUG, "0") not in ("", "0"),
        as_json="--json" in takewhile(lambda argument: argument != "--", arguments),
    )
    try:
        try:
            return main([argument for argument in arguments if argument != "--debug"]) or 0
        finally:
            sys.stdout.flush()
    except KeyboardInterrupt:
        report.interruption(128 + signal.SIGINT)
        return 128 + signal.SIGINT
    except SystemExit as left:
        report.interruption(left.code)
        raise
    except BrokenPipeError:
        _discard_output()
        return _BROKEN_PIPE
    except Exception as error:
        return report.error(error)


class _Report(NamedTuple):
    """How a command that does not end well is reported."""

    debug: bool
    as_json: bool

    def error(self, error: Exception) -> int:
        """Report the exception that is being handled; the exit status."""
        if isinstance(error, ModuleNotFoundError) and error.name == "paddle":
            error = PaddleMissingError()
        kind: ErrorKind
        if isinstance(error, VprTrainError):
            message, kind, status = _one_line(str(error)), error.kind, error.exit_status
        else:
            message, kind, status = _describe(error), "internal", 1
        if self.debug:
            print_lines(*traceback.format_exc().rstrip().split("\n"), file=sys.stderr)
        print_lines(f"error: {message}", file=sys.stderr)
        self._to_program(message, kind)
        return status

    def interruption(self, status: object) -> None:
        """Report a signal, if the status is that after a signal to stop."""
        for number in (signal.SIGINT, signal.SIGTERM):
            if status == 128 + number:
                self._to_program(f"interrupted by {number.name}", "interrupted")

    def _to_program(self, message: str, kind: ErrorKind) -> None:
        """Print the JSON object, if one is wanted."""
        try:
            if self.as_json and launched_rank() == 0:
                print(json.dumps({"error": message, "kind": kind}))
            sys.stdout.flush()
        except OSError:  # a full disk, or a reader that left: standard error and the status tell
            _discard_output()


def _discard_output() -> None:
    """Write to nowhere from now on: Python flushes again at exit, and would report an error."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _describe(error: Exception) -> str:
    """An unexpected error: its type, its message, and the innermost place in this package."""
    frames = traceback.extract_tb(error.__traceback__)
    package = Path(__file__).parents[1]
    ours = [
        frame
        for frame in frames
        if package in Path(frame.filename).parents and frame.filename != __file__
    ]
    frame = (ours or frames)[-1]
    file = Path(frame.filename)
    name = file.relative_to(package.parent) if ours else file.name
    message = _one_line(str(error)) or "without a message"
    return (
        f"{type(error).__name__}: {message} (in {name}, line {frame.lineno}, {frame.name}); "
        "run again with --debug for the traceback"
    )


def _one_line(text: str) -> str:
    return " ".join(text.split())


def choose(*commands: Command, description: str, prog: str | None = None) -> Main:
    """A main function whose first argument names one of ``commands``."""
    names = {command.__name__: command for command in commands}
    program = prog or Path(sys.argv[0]).name

    def main(arguments: list[str]) -> int | None:
        first, *rest = arguments or ["--help"]
        if first in ("-h", "--help"):
            print(_overview(program, description, names))
            return 0
        if first not in names:
            nearest = closest(first, names)
            hint = f"the closest is '{nearest}'" if nearest else f"known are {', '.join(names)}"
            raise UsageError(f"unknown command '{first}': {hint} (--help explains them)")
        parser = CommandParser(prog=f"{program} {first}", description=inspect.getdoc(names[first]))
        return names[first](parser, rest)

    return main


def _overview(program: str, description: str, commands: dict[str, Command]) -> str:
    width = max(map(len, commands))
    helps = {
        name: (inspect.getdoc(command) or "").partition("\n")[0]
        for name, command in commands.items()
    }
    return "\n".join(
        [
            f"usage: {program} COMMAND [OPTIONS]",
            "",
            description,
            "",
            "commands:",
            *(f"  {name:{width}}  {text}" for name, text in helps.items()),
            "",
            f"{program} COMMAND --help explains the options of a command; "
            "--debug shows the traceback of a failure.",
        ]
    )
