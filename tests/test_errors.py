"""Values in messages are short, on one line, and built only as far as they are shown."""

from __future__ import annotations

import tracemalloc
from typing import Any

import pytest

from vprtrain.errors import cause, cut, shown


def endless() -> Any:
    value: Any = ()
    for _ in range(60):
        value = (value, value)
    return value


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("a", "'a'"),
        ("a\n\x1b[31m", r"'a\n\x1b[31m'"),
        (None, "None"),
        (True, "True"),
        (-3, "-3"),
        (0.5, "0.5"),
        ([1, "b", {"c": (2,)}], "[1, 'b', {'c': (2,)}]"),
        ({"b": 1, "a": 2}, "{'b': 1, 'a': 2}"),
        (b"ab", "b'ab'"),
        pytest.param(1 << 100_000, "a whole number of 100001 bits", id="a big number"),
        ({}, "{}"),
    ],
)
def test_a_small_value_is_its_repr(value: object, expected: str) -> None:
    assert shown(value) == expected


@pytest.mark.parametrize(
    "value",
    [
        "x" * 10_000_000,
        b"\x00" * 10_000_000,
        [["x" * 1000] * 100_000] * 10,
        {str(i): [i] for i in range(10_000)},
        set(range(1000)),
        endless(),
        [[[[[[[[1]]]]]]]] * 1000,
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_large_value_is_cut_and_not_built(value: object) -> None:
    tracemalloc.start()
    text = shown(value)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(text) <= 80 and "..." in text and "\n" not in text
    assert peak < 1 << 20
    assert len(shown(value, 20)) <= 20


def test_an_error_of_another_library_is_one_line() -> None:
    assert cause(ValueError("a\n  b")) == "ValueError: a b"
    assert cause(MemoryError()) == "MemoryError"
    long = cause(KeyError("x" * 1000))
    assert long.startswith("KeyError: 'xxx") and long.endswith("...") and len(long) == 300


def test_a_text_is_cut_at_its_end() -> None:
    assert (cut("abcdef", 6), cut("abcdefg", 6)) == ("abcdef", "abc...")
