"""Pickles read without running code.

A pickle is a program for a small machine, and the ``pickle`` module runs any program in a
stranger's file. This module has only the instructions that files of numbers need. Only the objects
that the caller lists are called, nothing is imported, and no memory is allocated for a size that
the file only claims.
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable, Mapping
from typing import Any, BinaryIO

Globals = Mapping[tuple[str, str], Any]
"""The stand-ins for the objects that a pickle names by module and name; ``None`` for one that is
only an argument.

A callable stand-in must accept any arguments without harm. Its result may have a method
``build(state)``.
"""


def read_pickle(
    data: bytes | BinaryIO, known: Globals, persistent: Callable[[Any], Any] | None = None
) -> Any:
    """The object that a pickle describes.

    Args:
        data: the bytes, or a file, which is left at the end of the pickle.
        known: all objects that the pickle may name.
        persistent: gives the stand-in for an object outside the pickle, by its persistent id.

    Raises:
        Exception: almost any, for a hostile or truncated pickle.
    """
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
            case (
                "BININT"
                | "BININT1"
                | "BININT2"
                | "LONG1"
                | "BINFLOAT"
                | "SHORT_BINUNICODE"
                | "BINUNICODE"
            ):
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
            case "EMPTY_LIST":
                stack.append([])
            case "EMPTY_TUPLE":
                stack.append(())
            case "TUPLE1" | "TUPLE2" | "TUPLE3" | "TUPLE" as tuple_of:
                start = marks.pop() if tuple_of == "TUPLE" else len(stack) - int(tuple_of[-1])
                stack[start:] = [tuple(stack[start:])]
            case "APPEND" | "APPENDS" as append:
                start = marks.pop() if append == "APPENDS" else len(stack) - 1
                items, stack[start:] = stack[start:], []
                stack[-1].extend(items)
            case "SETITEM" | "SETITEMS" as set_items:
                start = marks.pop() if set_items == "SETITEMS" else len(stack) - 2
                items, stack[start:] = stack[start:], []
                _set_items(stack[-1], items)
            case "GLOBAL":
                stack.append(_stand_in(known, *argument.split(" ", 1)))
            case "STACK_GLOBAL":
                name = stack.pop()
                stack.append(_stand_in(known, stack.pop(), name))
            case "BINPERSID" if persistent is not None:
                stack.append(persistent(stack.pop()))
            case "REDUCE":
                arguments = stack.pop()
                stack.append(stack.pop()(*arguments))
            case "BUILD":
                state = stack.pop()
                stack[-1].build(state)
            case "STOP":
                return stack.pop()
            case other:
                raise ValueError(
                    f"it contains the instruction {other}, which a file of arrays never needs"
                )


def _stand_in(known: Globals, module: str, name: str) -> Any:
    if (module, name) not in known:
        raise ValueError(
            f"it asks for {f'{module}.{name}'!r:.100}, which a file of arrays never needs"
        )
    return known[module, name]


def _set_items(target: dict[str | int, Any], items: list[Any]) -> None:
    for name, value in zip(items[::2], items[1::2], strict=True):
        # Hashing a nested tuple would recurse to any depth that the file chooses.
        if not isinstance(name, str | int):
            raise ValueError(f"the name of an entry is a {type(name).__name__}")
        target[name] = value
