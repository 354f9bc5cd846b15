"""What every program shares: it chooses a command, and ends with a status and one readable line."""

from __future__ import annotations

import inspect
import os
import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

from vprtrain.commands.config import CommandParser
from vprtrain.commands.option_names import closest
from vprtrain.errors import PaddleMissingError, UsageError, VprTrainError

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
    ``VPRTRAIN_DEBUG=1`` set, the traceback comes before it. The status is 130 after Ctrl-C, and 141
    when the reader of standard output has closed it. ``SystemExit`` passes through.
    """
    debug = "--debug" in arguments or os.environ.get(DEBUG, "0") not in ("", "0")
    try:
        try:
            return main([argument for argument in arguments if argument != "--debug"]) or 0
        finally:
            sys.stdout.flush()
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # Python flushes standard output again at exit, and would report the closed pipe then.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _BROKEN_PIPE
    except VprTrainError as error:
        _report(_one_line(str(error)), debug)
        return error.exit_status
    except Exception as error:
        if isinstance(error, ModuleNotFoundError) and error.name == "paddle":
            missing = PaddleMissingError()
            _report(str(missing), debug)
            return missing.exit_status
        _report(_describe(error), debug)
        return 1


def _report(message: str, debug: bool) -> None:
    if debug:
        traceback.print_exc()
    print(f"error: {message}", file=sys.stderr)


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
