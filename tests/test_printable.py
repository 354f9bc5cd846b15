"""Text of strangers as it is printed and logged."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from vprtrain.errors import printable

CATEGORIES = ("Cc", "Cf", "Cs", "Zl", "Zp")
ANY_TEXT = st.text(st.characters(codec=None))
STRANGE_TEXT = st.text(
    st.one_of(
        st.characters(categories=CATEGORIES), st.sampled_from("a李👩\u200c\u200d\ufe0f\u3000\\")
    )
)


def controls(text: str) -> list[str]:
    """The control characters and their kind in a text, joiners left out."""
    return [
        each
        for each in text
        if unicodedata.category(each) in CATEGORIES and each not in "\u200c\u200d"
    ]


@given(st.one_of(ANY_TEXT, STRANGE_TEXT))
@example("\u202e\u200d李")  # the neighbour of the joiner is escaped, which makes it ASCII
def test_the_result_is_one_line_without_controls_and_stays_as_it_is(text: str) -> None:
    shown = printable(text)
    assert not controls(shown) and len(shown.splitlines()) <= 1
    assert printable(shown) == shown
    shown.encode()  # there is no surrogate in it
    if text.isprintable():
        assert shown == text


@given(st.one_of(ANY_TEXT, STRANGE_TEXT))
def test_kept_characters_are_all_that_differs(text: str) -> None:
    lines = text.split("\n")
    assert printable(text, keep="\n").split("\n") == [printable(line) for line in lines]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("\x1b[2J\x1b]0;title\x07", r"\x1b[2J\x1b]0;title\x07"),
        ("\x9b31m", r"\x9b31m"),  # CSI in one character
        ("a\tb\r\nc\x7f", r"a\tb\r\nc\x7f"),
        ("a\u2028b\u2029c\x85d", r"a\u2028b\u2029c\x85d"),
        ("gpj.\u202eexe", r"gpj.\u202eexe"),  # right-to-left override
        ("\ufeffAnn\u200b", r"\ufeffAnn\u200b"),
        ("b\udcfcro.wav", r"b\udcfcro.wav"),  # a file name that is not UTF-8
        ("Ann\u200d", r"Ann\u200d"),  # looks like Ann
        ("A\u200dnn", r"A\u200dnn"),
    ],
)
def test_what_controls_or_hides_is_escaped(text: str, expected: str) -> None:
    assert printable(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "李雷 Zoë Владимир",
        "e\u0301",  # a combining accent
        "全角\u3000空格\xa0",
        r"C:\new\x1b",
        "👩\u200d👩\u200d👧 🏳\ufe0f\u200d🌈",
        "می\u200cخواهم",  # noqa: RUF001 - Persian spelling
        "क्\u200dष",  # a Devanagari half form
    ],
)
def test_what_writing_needs_stays(text: str) -> None:
    assert printable(text) == text
