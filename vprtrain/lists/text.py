"""Reading a text list in UTF-8, one line an entry, that people write by hand or with any program.

A byte order mark and any line ends are accepted. Everything else that is not such a text is refused
in one line that names the file and the line. An encoding is never guessed.
"""

from __future__ import annotations

from codecs import BOM_UTF8, BOM_UTF16_BE, BOM_UTF16_LE
from collections.abc import Callable, Iterator

from vprtrain.errors import UsageError, shown
from vprtrain.files import StrPath, open_file

_BLOCK = 1 << 22  # bytes that are read at once
_MOST_LINE = 1 << 20  # bytes of a line that is longer than the rest of its block
_HEADERS = (
    {"path", "file", "wav", "audio", "filename", "audio_path", "wav_path", "id", "utt", "utt_id"}
    | {"utterance", "utterance_id", "enroll", "enrol"},
    {"speaker", "spk", "label", "speaker_id", "spk_id", "class", "path", "file", "wav", "test"},
)


def read_blocks(path: StrPath, what: str) -> Iterator[tuple[int, bytes]]:
    """A list in blocks of complete lines: the number of the first line, and the bytes.

    Args:
        what: the expected content, for messages.

    Raises:
        UsageError: the file is missing, is not a regular file or cannot be read, or a line has a
            NUL byte or is longer than about a megabyte.
    """
    number = 1
    try:
        with open_file(path) as file:
            while block := file.read(_BLOCK):
                rest = b"" if block.endswith(b"\n") else file.readline(_MOST_LINE)
                block += rest
                if b"\0" in block or block.startswith((BOM_UTF16_LE, BOM_UTF16_BE)):
                    raise _not_text(path, number, block, what)
                lines = block.count(b"\n")
                if len(rest) == _MOST_LINE and not rest.endswith(b"\n"):
                    raise UsageError(
                        f"{path}, line {number + lines}: longer than {_MOST_LINE >> 20} MB; "
                        f"expected {what}"
                    )
                yield number, block
                number += lines
    except FileNotFoundError:
        raise UsageError(f"{path}: no such file; expected {what}") from None
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}; expected {what}") from error
    except ValueError as error:  # a NUL character in the path
        raise UsageError(f"{shown(str(path))}: {error}; expected {what}") from error


def read_lines(path: StrPath, what: str) -> Iterator[tuple[int, str]]:
    """The number and the text of each line that is not blank, without its line end.

    Args:
        what: the expected content, for messages.

    Raises:
        UsageError: as in :func:`read_blocks`, or the file is not UTF-8.
    """
    for start, block in read_blocks(path, what):
        try:
            text = block.decode()
        except UnicodeDecodeError as error:
            raise encoding_error(path, start + block.count(b"\n", 0, error.start), what) from error
        if start == 1:
            text = text.removeprefix(BOM_UTF8.decode())
        if "\r" in text:
            text = text.replace("\r\n", "\n").replace("\r", "\n")
        for number, line in enumerate(text.split("\n"), start):
            if line and not line.isspace():
                yield number, line


def encoding_error(path: StrPath, number: int, what: str) -> UsageError:
    """The error for a line that is not UTF-8."""
    return UsageError(
        f"{path}, line {number}: not UTF-8 text; expected {what}: convert the file to UTF-8, for "
        "example with iconv -f GBK -t UTF-8, if it is GBK"
    )


def refuse_header(path: StrPath, number: int, columns: list[str]) -> None:
    """Refuse the names of columns in the place of an entry.

    Raises:
        UsageError: the first two columns are names of columns.
    """
    first, second = (column.strip().casefold() for column in columns[:2])
    if first in _HEADERS[0] and second in _HEADERS[1]:
        raise UsageError(
            f"{path}, line {number}: {shown(columns)} are names of columns; remove this line"
        )


def lines_where(path: StrPath, what: str, *tests: Callable[[str], bool]) -> str:
    """The first line for each test, of which no line counts for two, as a part of a message:
    ``lines 3 and 8``."""
    numbers = []
    pending = list(tests)
    for number, line in read_lines(path, what):
        if passed := next((test for test in pending if test(line)), None):
            pending.remove(passed)
            numbers.append(str(number))
            if not pending:
                break
    return f"line{'s' * (len(tests) > 1)} {' and '.join(numbers)}"


def _not_text(path: StrPath, start: int, block: bytes, what: str) -> UsageError:
    if block.startswith((BOM_UTF16_LE, BOM_UTF16_BE)):
        return UsageError(
            f"{path}, line {start}: UTF-16 text; expected {what}: convert the file to UTF-8, for "
            "example with iconv -f UTF-16 -t UTF-8"
        )
    number = start + block.count(b"\n", 0, block.find(b"\0"))
    return UsageError(f"{path}, line {number}: a NUL byte; expected {what}, as UTF-8 text")
