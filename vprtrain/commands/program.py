"""What every command line shares: choosing a command, and ending with a status and one readable
line."""

from __future__ import annotations

import inspect
import os
import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

from vprtrain.commands.config import CommandParser, closest
from vprtrain.errors import UsageError, VprTrainError

Main = Callable[[list[str]], int | None]
Command = Callable[[CommandParser, list[str]], int | None]
"""Declares its options on the parser, parses the arguments and does its work. Its name and the
first line of its docstring are what a user sees; it imports itself what is slow to import, so that
others need not wait."""

DEBUG = "VPRTRAIN_DEBUG"
_BROKEN_PIPE = 128 + 13  # as if SIGPIPE, which Python ignores, had ended the process


def run(main: Main, arguments: Sequence[str] | None = None) -> NoReturn:
    """Call ``main(arguments)`` (default: the command line's) and exit with its :func:`status`."""
    try:
        code = status(main, sys.argv[1:] if arguments is None else arguments)
    finally:
        # Launchers send SIGTERM several times, people press Ctrl-C twice: neither may kill the
        # interpreter as it ends.
        try:
            _ignore_stop_signals()
        finally:  # the first of them may come just now, and its handler raise before all are ignored
            _ignore_stop_signals()
    sys.exit(code)


def _ignore_stop_signals() -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)


def status(main: Main, arguments: Sequence[str]) -> int:
    """The exit status of ``main(arguments)``: what it returns (``None`` is 0) or what its exception
    means.

    A :class:`VprTrainError` has its own, any other error is 1; both are said in one line on
    standard error, after the traceback where ``--debug`` is an argument or ``VPRTRAIN_DEBUG=1`` is
    set. Ctrl-C is 130, a reader of standard output that left is 141; ``SystemExit`` passes.
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
        # Python flushes once more at exit, and would complain about the pipe then.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _BROKEN_PIPE
    except VprTrainError as error:
        _report(_one_line(str(error)), debug)
        return error.exit_status
    except Exception as error:
        _report(_describe(error), debug)
        return 1


def _report(message: str, debug: bool) -> None:
    if debug:
        traceback.print_exc()
    print(f"error: {message}", file=sys.stderr)


def _describe(error: Exception) -> str:
    """An error nobody foresaw: its type, what it says, and where in this package it came up."""
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
    said = _one_line(str(error)) or "without a message"
    return (
        f"{type(error).__name__}: {said} (in {name}, line {frame.lineno}, {frame.name}); "
        "run again with --debug for the traceback"
    )


def _one_line(text: str) -> str:
    return " ".join(text.split())


def choose(*commands: Command, description: str, prog: str | None = None) -> Main:
    """A main function whose first argument names one of ``commands``; only that one's parser is
    built."""
    names = {command.__name__: command for command in commands}
    program = prog or Path(sys.argv[0]).name

    def main(arguments: list[str]) -> int | None:
        first, *rest = arguments or ["--help"]
        if first in ("-h", "--help"):
            print(_overview(program, description, names))
            return 0
        if first not in names:
            meant = closest(first, names)
            hint = f"the closest is '{meant}'" if meant else f"known are {', '.join(names)}"
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
            f"{program} COMMAND --help explains its options; --debug shows the traceback of a failure.",
        ]
    )
