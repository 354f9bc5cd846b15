"""Printing for people: one place that escapes what strangers have named."""

from __future__ import annotations

import sys
from typing import TextIO

from vprtrain.errors import printable


def print_lines(*lines: str, file: TextIO | None = None) -> None:
    """Print each text as one line, escaped by :func:`vprtrain.errors.printable`.

    Tabs stay, because they separate columns. What the encoding of the output lacks is escaped too.

    Args:
        file: standard output by default.
    """
    output = sys.stdout if file is None else file
    text = "\n".join(printable(line, keep="\t") for line in lines)
    encoding = output.encoding or "utf-8"
    print(text.encode(encoding, errors="backslashreplace").decode(encoding), file=output)


def print_warning(message: str) -> None:
    """Print one line on standard error that begins with ``warning:``."""
    print_lines(f"warning: {message}", file=sys.stderr)
