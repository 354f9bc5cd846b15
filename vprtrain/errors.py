"""The errors that vprtrain reports in one line, and how text of strangers is printed.

Each class has the exit status of a command that ends with it, and the kind that ``--json`` prints.
A message says what was found, what was expected and what to do, and it names the path. It may hold
any characters: :func:`printable` escapes them where the message is printed or logged.
"""

from __future__ import annotations

import unicodedata
from typing import Literal

ErrorKind = Literal["usage", "run", "checkpoint", "audio", "interrupted", "internal"]
"""What went wrong, for programs: ``interrupted`` is a signal, ``internal`` an unexpected error."""

# Control and format characters, surrogates, line and paragraph separators.
_ESCAPED = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
_JOINERS = frozenset("\u200c\u200d")


class VprTrainError(Exception):
    """An error that is reported to the user in one line, without a traceback."""

    exit_status = 1
    kind: ErrorKind = "run"


class UsageError(VprTrainError):
    """Input of the user (a configuration, manifest or path) cannot be used. Nothing was changed."""

    exit_status = 2
    kind = "usage"


class PaddleMissingError(UsageError, ImportError):
    """PaddlePaddle is not installed; it is not among vprtrain's own requirements."""

    def __init__(self) -> None:
        super().__init__(
            "PaddlePaddle is not installed: pip install 'vprtrain[cpu]' for CPUs, or "
            "paddlepaddle-gpu 3.3 for GPUs"
        )


class RunError(VprTrainError):
    """A run with valid input cannot continue."""


class CheckpointError(RunError):
    """A checkpoint is missing, damaged or invalid."""

    kind = "checkpoint"


def require_at_least(name: str, value: float, least: float) -> None:
    """Refuse an argument that is too small, or NaN.

    Raises:
        UsageError: ``value`` is not ``least`` or more.
    """
    if not value >= least:  # also refuses NaN
        raise UsageError(f"{name} is {value}; expected {least} or more")


def printable(text: str, *, keep: str = "") -> str:
    r"""A text for a terminal or a log: one line that controls nothing and hides nothing.

    Names of files, users and speakers come from strangers. Control and format characters,
    surrogates, and line and paragraph separators are written as in Python: ``\x1b``, ``\n``,
    ``\u202e``. Letters of every script, combining marks and spaces stay. So does a joiner (U+200C,
    U+200D) between two characters that are not ASCII, because some scripts and emoji need it.

    The result is for people: a backslash stays as it is, so the text cannot be read back.

    Args:
        keep: characters that are not escaped, for example the tab between columns.
    """
    if text.isprintable():
        return text
    neighbours = zip(" " + text, text, text[1:] + " ", strict=False)
    return "".join(
        character
        if character in keep or _stays(character, before, after)
        else character.encode("unicode_escape").decode("ascii")
        for before, character, after in neighbours
    )


def _stays(character: str, before: str, after: str) -> bool:
    if character in _JOINERS:
        return _joins(before) and _joins(after)
    return not _controls(character)


def _joins(character: str) -> bool:
    return not character.isascii() and not _controls(character)


def _controls(character: str) -> bool:
    return unicodedata.category(character) in _ESCAPED
