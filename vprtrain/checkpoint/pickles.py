"""Pickles read without running code.

A pickle is a program for a small machine, and the ``pickle`` module runs any program in a
stranger's file. This module has only the instructions that files of numbers need. Only the objects
that the caller lists are called, nothing is imported, and no memory is allocated for a size that
the file only claims. A budget of instructions bounds the time and the memory: one byte of a file is
an instruction, and the object that it makes takes 50 bytes or more.
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable, Mapping
from itertools import islice
from typing import Any, BinaryIO

from vprtrain.errors import shown

MOST_INSTRUCTIONS = 1_000_000
"""Of one pickle. An array takes about 30, a checkpoint of 1,000 layers less than a tenth of it."""
MOST_NESTED = 20
"""Tuples inside of tuples. CPython has no limit of its own where it hashes or compares them."""
_MOST_ARGUMENTS = 16

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
    nesting: dict[int, int] = {}
    argument: Any
    for instruction, argument, _ in islice(pickletools.genops(data), MOST_INSTRUCTIONS):
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
                stack[start:] = [_nested_tuple(stack[start:], nesting)]
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
                stack.append(persistent(_few(stack.pop())))
            case "REDUCE":
                arguments = _few(stack.pop())
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
    raise ValueError(f"it has more than {MOST_INSTRUCTIONS} instructions")


def _stand_in(known: Globals, module: object, name: object) -> Any:
    # Checked before they are hashed: hashing a tuple of twice the same tuple, 60 times, never ends.
    if not isinstance(module, str) or not isinstance(name, str):
        raise ValueError(f"it asks for an object by a {type(module).__name__}, expected a text")
    if (module, name) not in known:
        raise ValueError(
            f"it asks for {shown(f'{module}.{name}', 100)}, which a file of arrays never needs"
        )
    return known[module, name]


def _few(arguments: object) -> tuple[Any, ...]:
    """Arguments, if they are a short tuple. A long one could be passed again and again, for three
    instructions each time."""
    if not isinstance(arguments, tuple) or len(arguments) > _MOST_ARGUMENTS:
        raise ValueError(
            f"it passes {shown(arguments, 40)}, expected a tuple of at most {_MOST_ARGUMENTS}"
        )
    return arguments


def _set_items(target: dict[str | int, Any], items: list[Any]) -> None:
    for name, value in zip(items[::2], items[1::2], strict=True):
        if not isinstance(name, str):
            if not isinstance(name, int):
                raise ValueError(f"the name of an entry is a {type(name).__name__}")
            # Larger numbers can be chosen to have the same hash, so that each is compared with all.
            if not abs(name) < 2**31:
                raise ValueError(f"the name of an entry is {shown(name)}")
        target[name] = value


def _nested_tuple(items: list[Any], nesting: dict[int, int]) -> tuple[Any, ...]:
    """A tuple, if it is not too deep. ``nesting`` has the depth of each tuple by its id."""
    depth = 1
    for item in items:
        if type(item) is tuple:
            depth = max(depth, 1 + nesting.get(id(item), 0))
    if depth > MOST_NESTED:
        raise ValueError(f"it has tuples in tuples, more than {MOST_NESTED} deep")
    made = tuple(items)
    nesting[id(made)] = depth
    return made
