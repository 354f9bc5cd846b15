"""The errors that vprtrain reports in one line, and how text of strangers is printed.

Each class has the exit status of a command that ends with it, and the kind that ``--json`` prints.
A message says what was found, what was expected and what to do, and it names the path. It may hold
any characters: :func:`printable` escapes them where the message is printed or logged.
"""

from __future__ import annotations

import math
import reprlib
import sys
import unicodedata
from collections.abc import Collection, Mapping
from itertools import islice
from numbers import Integral, Real
from typing import Literal, TypeGuard

ErrorKind = Literal["usage", "run", "checkpoint", "audio", "interrupted", "internal"]
"""What went wrong, for programs: ``interrupted`` is a signal, ``internal`` an unexpected error."""

SAMPLE_RATES = range(1_000, 768_001)
"""The sample rates that recordings and models may have, in Hz."""

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


def require_at_least(name: str, value: object, least: float) -> None:
    """Refuse an argument that is not a number, or too small, or NaN.

    Raises:
        UsageError: ``value`` is not ``least`` or more.
    """
    if not _is_number(value) or not value >= least:  # also refuses NaN
        raise UsageError(f"{name} is {shown(value)}; expected {least} or more")


def require_whole(name: str, value: object, least: int, most: int | None = None) -> None:
    """Refuse an argument that is not a whole number in a range.

    Raises:
        UsageError: ``value`` is not an integer from ``least`` to ``most``. A bool is none.
    """
    whole = isinstance(value, Integral) and not isinstance(value, bool)
    end = math.inf if most is None else most
    if not whole or not _is_number(value) or not least <= value <= end:
        limits = f", {least} or more" if most is None else f" from {least} to {most}"
        raise UsageError(f"{name} is {shown(value)}; expected a whole number{limits}")


def require_number(
    name: str,
    value: object,
    *,
    least: float = -math.inf,
    above: float = -math.inf,
    most: float = math.inf,
    below: float = math.inf,
) -> None:
    """Refuse an argument that is not a finite number in a range.

    Args:
        least, above: the lower limit, with or without the limit itself.
        most, below: the upper limit, with or without the limit itself.

    Raises:
        UsageError: ``value`` is not such a number. A bool is none.
    """
    if (
        not _is_number(value)
        or not abs(value) <= sys.float_info.max  # also refuses NaN
        or not (least <= value <= most and above < value < below)
    ):
        limits = [
            f"{text} {limit:.5g}"
            for text, limit in zip(
                ("at least", "above", "at most", "below"), (least, above, most, below), strict=True
            )
            if math.isfinite(limit)
        ]
        expected = " ".join(["a finite number", " and ".join(limits)]).rstrip()
        raise UsageError(f"{name} is {shown(value)}; expected {expected}")


def require_flags(**options: object) -> None:
    """Refuse arguments that are not bools.

    Raises:
        UsageError: a value is neither true nor false.
    """
    for name, value in options.items():
        if not isinstance(value, bool):
            raise UsageError(f"{name} is {shown(value)}; expected true or false")


def require_choice(name: str, value: object, choices: Collection[str]) -> None:
    """Refuse an argument that is not one of some texts.

    Raises:
        UsageError: ``value`` is not in ``choices``.
    """
    if not isinstance(value, str) or value not in choices:
        raise UsageError(f"{name} {shown(value)} is not known: choose one of {', '.join(choices)}")


def require_sample_rate(name: str, value: object) -> None:
    """Refuse an argument that is not a sample rate in Hz.

    Raises:
        UsageError: ``value`` is not in :data:`SAMPLE_RATES`.
    """
    require_whole(name, value, SAMPLE_RATES[0], SAMPLE_RATES[-1])


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, Real) and not isinstance(value, bool)


def shown(value: object, most: int = 80) -> str:
    """A value from a file as one line of a message: the beginning of its ``repr``.

    Only the part that is shown is built. A stranger's value may be huge, and a tuple of the same
    tuples of the same tuples has a ``repr`` without an end.
    """
    return cut(_Shortener(most).repr(value), most)


def cause(error: BaseException, most: int = 300) -> str:
    """Another library's error as one line of a message: its class and the beginning of its text."""
    text = " ".join(str(error).split())
    return cut(f"{type(error).__name__}: {text}" if text else type(error).__name__, most)


def cut(text: str, most: int) -> str:
    """The beginning of a text that is longer than ``most`` characters, with an ellipsis."""
    return text if len(text) <= most else f"{text[: most - 3]}..."


class _Shortener(reprlib.Repr):
    """``repr`` of a few items of each container, of a few levels, and of the beginning of texts."""

    _MOST_BITS = 256

    def __init__(self, most: int) -> None:
        super().__init__()
        self.maxlevel = 4
        self.most = most

    def repr_str(self, x: str, level: int) -> str:
        return repr(x[: self.most])

    def repr_bytes(self, x: bytes, level: int) -> str:
        return repr(x[: self.most])

    def repr_int(self, x: int, level: int) -> str:
        bits = x.bit_length()
        return repr(x) if bits <= self._MOST_BITS else f"a whole number of {bits} bits"

    def repr_dict(self, x: Mapping[object, object], level: int) -> str:
        if level <= 0:
            return "{...}"
        items = [
            f"{self.repr1(key, level - 1)}: {self.repr1(value, level - 1)}"
            for key, value in islice(x.items(), self.maxdict)
        ]
        return f"{{{', '.join(items + ['...'] * (len(x) > self.maxdict))}}}"


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
