"""Named arrays as the ``.pdparams`` / ``.pdopt`` files that Paddle's users expect, read without running code.

``paddle.load`` reads what :func:`encode_arrays` writes. Such a file is a pickle, a program for a small
machine, and ``pickle`` or ``paddle.load`` runs whatever a stranger's file says. :func:`decode_arrays` knows
only the instructions that arrays need, on values of its own: nothing is imported, called, or allocated on
the file's word.
"""

from __future__ import annotations

import pickle
import pickletools
import re
from collections.abc import Callable
from typing import Any

import numpy as np

from vprtrain.errors import CheckpointError

Arrays = dict[str, np.ndarray]

PROTOCOL = 4  # what paddle.save writes


def encode_arrays(arrays: Arrays) -> bytes:
    """Bytes of a dictionary of arrays."""
    contiguous = {name: np.asarray(value, order="C") for name, value in arrays.items()}
    return pickle.dumps(contiguous, protocol=PROTOCOL)


def decode_arrays(data: bytes, source: str) -> Arrays:
    """The arrays of a file written by :func:`encode_arrays` or by ``paddle.save`` of a state dict; read-only.

    Args:
        data: the file's content.
        source: what the error names.

    Raises:
        CheckpointError: the bytes are not a pickle of named numeric arrays, or ask for anything else.
    """
    try:
        content = _run(data)
    except Exception as error:  # a hostile or torn pickle can raise nearly anything
        raise CheckpointError(
            f"{source} is not a file of named arrays and was not read ({type(error).__name__}: {error})"
        ) from error
    if not isinstance(content, dict):
        raise CheckpointError(f"{source} holds a {type(content).__name__}, not a dictionary of named arrays")
    content.pop("StructuredToParameterName@@", None)  # paddle.save's own map of names
    for name, value in content.items():
        if not isinstance(value, _SavedArray) or value.array is None:
            kind = type(value).__name__
            raise CheckpointError(f"{source}: entry {name!r} is a {kind}, not a numeric array")
    return {name: value.array for name, value in content.items()}


class _SavedType:
    """Stands for a ``numpy.dtype``."""

    def __init__(self, code: str, *_: bool) -> None:
        if not re.fullmatch(r"[biufc]\d+", code):
            raise ValueError(f"it holds an array of type {code!r}, which is not numeric")
        self.dtype = np.dtype(code)

    def build(self, state: tuple[Any, ...]) -> None:
        self.dtype = self.dtype.newbyteorder(state[1])


class _SavedArray:
    """Stands for a ``numpy.ndarray``."""

    def __init__(self, *_: Any) -> None:
        self.array: np.ndarray | None = None

    def build(self, state: tuple[int, tuple[int, ...], _SavedType, bool, bytes]) -> None:
        _, shape, saved_type, is_fortran, data = state
        # A view, no copy: a file may use the same bytes a million times over.
        self.array = np.frombuffer(data, saved_type.dtype).reshape(shape, order="F" if is_fortran else "C")


_KNOWN: dict[tuple[str, str], Callable[..., Any] | None] = {
    ("numpy", "ndarray"): None,  # only ever an argument, which says nothing new
    ("numpy", "dtype"): _SavedType,
    ("numpy._core.multiarray", "_reconstruct"): _SavedArray,
    ("numpy.core.multiarray", "_reconstruct"): _SavedArray,
}


def _known(module: str, name: str) -> Callable[..., Any] | None:
    if (module, name) not in _KNOWN:
        raise ValueError(f"it asks for {f'{module}.{name}'!r}, which a file of arrays never needs")
    return _KNOWN[module, name]


def _set_items(target: dict[str, Any], items: list[Any]) -> None:
    for name, value in zip(items[::2], items[1::2], strict=True):
        if not isinstance(name, str):  # to look a nested tuple up would recurse as deep as the file likes
            raise ValueError(f"it names an entry with a {type(name).__name__}")
        target[name] = value


def _run(data: bytes) -> Any:
    """What a pickle leaves on its stack; as long as ``pickletools`` has names for the instructions needed."""
    stack: list[Any] = []
    marks: list[int] = []
    memo: dict[int, Any] = {}
    argument: Any
    for instruction, argument, _ in pickletools.genops(data):
        match instruction.name:
            case "PROTO" | "FRAME":
                pass
            case "NONE" | "NEWTRUE" | "NEWFALSE" as constant:
                stack.append({"NONE": None, "NEWTRUE": True, "NEWFALSE": False}[constant])
            case "BININT" | "BININT1" | "BININT2" | "LONG1" | "BINFLOAT" | "SHORT_BINUNICODE" | "BINUNICODE":
                stack.append(argument)
            case "SHORT_BINBYTES" | "BINBYTES" | "BINBYTES8":
                stack.append(argument)
            case "MEMOIZE":
                memo[len(memo)] = stack[-1]
            case "BINPUT" | "LONG_BINPUT":
                memo[argument] = stack[-1]
            case "BINGET" | "LONG_BINGET":
                stack.append(memo[argument])
            case "MARK":
                marks.append(len(stack))
            case "EMPTY_DICT":
                stack.append({})
            case "EMPTY_TUPLE":
                stack.append(())
            case "TUPLE1" | "TUPLE2" | "TUPLE3" | "TUPLE" as tuple_of:
                start = marks.pop() if tuple_of == "TUPLE" else len(stack) - int(tuple_of[-1])
                stack[start:] = [tuple(stack[start:])]
            case "SETITEM" | "SETITEMS" as set_items:
                start = marks.pop() if set_items == "SETITEMS" else len(stack) - 2
                items, stack[start:] = stack[start:], []
                _set_items(stack[-1], items)
            case "GLOBAL":
                stack.append(_known(*argument.split(" ", 1)))
            case "STACK_GLOBAL":
                name = stack.pop()
                stack.append(_known(stack.pop(), name))
            case "REDUCE":
                arguments = stack.pop()
                stack.append(stack.pop()(*arguments))
            case "BUILD":
                state = stack.pop()
                stack[-1].build(state)
            case "STOP":
                return stack.pop()
            case other:
                raise ValueError(f"it contains the instruction {other}, which a file of arrays never needs")
