"""A table in Markdown, printed line by line, for docs/benchmarks."""

from __future__ import annotations


def print_head(*names: str) -> None:
    """The names of the columns."""
    print_row(*names)
    print("|" + "---|" * len(names), flush=True)


def print_row(*cells: object) -> None:
    """A line of the table."""
    print(f"| {' | '.join(map(str, cells))} |", flush=True)
