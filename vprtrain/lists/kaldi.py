"""Kaldi's tables: ``wav.scp``, ``utt2spk`` and the like."""

from __future__ import annotations

import re
from collections.abc import Iterator

from vprtrain.errors import UsageError, shown
from vprtrain.files import StrPath
from vprtrain.lists.paths import foreign_path_error, is_foreign
from vprtrain.lists.text import read_lines, refuse_header


def read_table(path: StrPath, form: str) -> Iterator[tuple[int, str, str]]:
    """The number of every line, its first column, which occurs once, and the rest of the line.

    Args:
        form: the two columns, for messages.

    Raises:
        UsageError: the file is missing, empty or malformed, or a first column occurs twice.
    """
    known: dict[str, int] = {}
    for number, line in read_lines(path, f"lines of {form!r}"):
        first, *rest = line.split(maxsplit=1)
        if not rest or "\t" in rest[0].strip():
            raise UsageError(
                f"{path}, line {number}: expected {form!r}, found {shown(line.strip())}"
            )
        if not known:
            refuse_header(path, number, [first, *rest])
        if first in known:
            raise UsageError(
                f"{path}, lines {known[first]} and {number}: {shown(first)} occurs twice; expected "
                "one line for every utterance"
            )
        known[first] = number
        yield number, first, rest[0].strip()
    if not known:
        raise UsageError(f"{path}: empty; expected lines of {form!r}")


def read_wav_scp(path: StrPath, root: StrPath) -> Iterator[tuple[int, str, str]]:
    """The line's number, the utterance and the path, as it is written, of every line of a
    ``wav.scp``.

    Args:
        root: the folder that relative paths start from.

    Raises:
        UsageError: as :func:`read_table`, or an entry is not a file of this machine.
    """
    for number, utterance, written in read_table(path, "utterance path"):
        _refuse_unreadable(f"{path}, line {number}", written, root)
        yield number, utterance, written


def _refuse_unreadable(where: str, written: str, root: StrPath) -> None:
    """Refuse an entry of ``wav.scp`` that is not a file of this machine."""
    if written.endswith("|"):
        raise UsageError(
            f"{where}: the output of a command ({shown(written)}); commands are not run: write its "
            "audio to files first"
        )
    if re.search(r":\d+$", written):
        raise UsageError(
            f"{where}: in an archive ({shown(written)}); archives are not read: write its audio to "
            "files first"
        )
    if is_foreign(written, root):
        raise foreign_path_error(where, written)
