"""The columns of a text list."""

from __future__ import annotations

from collections.abc import Iterator

from vprtrain.files import StrPath
from vprtrain.lists.text import read_lines


def read_columns(path: StrPath, what: str) -> Iterator[tuple[int, list[str]]]:
    """The number and the columns of each line that is not blank.

    The columns are separated by blanks. If a line has two tabs or more, they are separated by tabs,
    so that ids may contain blanks.

    Args:
        what: the expected content of the file, for error messages.
    """
    for number, line in read_lines(path, what):
        yield number, _split_at_tabs(line) if "\t" in line else line.split()


def _split_at_tabs(line: str) -> list[str]:
    parts = line.strip().split("\t")
    return [part.strip() for part in parts] if len(parts) > 2 else line.split()
