"""Text lists of people: read rightly, or refused in one line that names the file and the line."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from limited import run_limited

from vprtrain.errors import UsageError
from vprtrain.lists import read_columns, read_lines, text


def lines(path: Path, content: bytes) -> list[tuple[int, str]]:
    path.write_bytes(content)
    return list(read_lines(path, "a list"))


@pytest.mark.parametrize(
    "content",
    [
        b"a 1\n\nb 2\n",
        b"a 1\n\nb 2",
        b"a 1\r\n\r\nb 2\r\n",
        b"a 1\r\rb 2\r",
        b"\xef\xbb\xbfa 1\n \t\nb 2\n",
    ],
)
@pytest.mark.parametrize("block", [1, 3, 1 << 20])
def test_line_ends_and_a_byte_order_mark_make_no_difference(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes, block: int
) -> None:
    monkeypatch.setattr(text, "_BLOCK", block)
    assert lines(tmp_path / "l.txt", content) == [(1, "a 1"), (3, "b 2")]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("张三 1\n".encode("gbk"), r"line 1: not UTF-8 text; .*iconv -f GBK -t UTF-8"),
        (b"a 1\n\nb \xd5\xc5\n", "line 3: not UTF-8 text"),
        ("a 1\n".encode("utf-16"), r"line 1: UTF-16 text; .*iconv -f UTF-16 -t UTF-8"),
        ("a 1\nb 2\n".encode("utf-16-le"), "line 1: a NUL byte"),
        (b"a 1\nb\0 2\n", "line 2: a NUL byte"),
    ],
)
@pytest.mark.parametrize("block", [1, 1 << 20])
def test_other_encodings_are_named_with_the_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes, said: str, block: int
) -> None:
    monkeypatch.setattr(text, "_BLOCK", block)
    with pytest.raises(UsageError, match=rf"l\.txt, {said}"):
        lines(tmp_path / "l.txt", content)


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path, said in (
        (tmp_path / "none", "no such file; expected a list"),
        (tmp_path, "Is a directory; expected a list"),
        (tmp_path / "pipe", "not a file; expected a list"),
        (Path("/dev/zero"), "not a file; expected a list"),
        (tmp_path / "a\0b", "null byte; expected a list"),
    ):
        with pytest.raises(UsageError, match=said):
            list(read_lines(path, "a list"))


def test_an_endless_line_does_not_fill_the_memory(tmp_path: Path) -> None:
    path = tmp_path / "l.txt"
    with open(path, "wb") as file:
        file.write(b"a 1\n")
        for _ in range(64):
            file.write(b"x" * (1 << 22))
    script = """
from vprtrain.errors import UsageError
from vprtrain.lists import read_lines
try:
    list(read_lines(sys.argv[1], "a list"))
except UsageError as error:
    print(error)
"""
    said, peak = run_limited(script, path)
    assert said == f"{path}, line 2: longer than 1 MB; expected a list"
    assert peak < 200 << 20


def test_columns_are_separated_by_blanks_or_by_tabs(tmp_path: Path) -> None:
    path = tmp_path / "l.txt"
    path.write_text(" a  b\tc \na b\tc d\te\n\ta b 1\t\n", encoding="utf-8")
    assert list(read_columns(path, "a list")) == [
        (1, ["a", "b", "c"]),
        (2, ["a b", "c d", "e"]),
        (3, ["a", "b", "1"]),
    ]
