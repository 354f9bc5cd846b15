"""The counts of a preparation, compared with those of complete archives."""

from __future__ import annotations

from vprtrain.errors import printable


class Summary:
    """Counts and remarks; ``str()`` gives a text for people, escaped for a terminal."""

    def __init__(self) -> None:
        self.counts: dict[str, int] = {}
        self.remarks: list[str] = []
        self._expected: dict[str, int] = {}

    def count(self, what: str, found: int, *, expected: int | None = None) -> None:
        """Add a count.

        A count that differs from ``expected``, that of the complete archive, is marked but is no
        error, because archives change.
        """
        self.counts[what] = found
        if expected is not None and expected != found:
            self._expected[what] = expected

    def remark(self, text: str) -> None:
        """Add something that a person should know."""
        self.remarks.append(text)

    def remark_names(self, what: str, names: list[str]) -> None:
        """Add a remark on unexpected names, if there are any: their number and the first five."""
        if names:
            others = f" and {len(names) - 5} more" if len(names) > 5 else ""
            self.remark(f"{len(names):,} {what}: {', '.join(names[:5])}{others}")

    def __str__(self) -> str:
        return "\n".join(map(printable, self.lines))

    @property
    def lines(self) -> list[str]:
        """The text for people; names in it are as they are."""
        width = max((len(f"{found:,}") for found in self.counts.values()), default=0)
        lines = []
        for what, found in self.counts.items():
            differs = f"  (complete: {self._expected[what]:,})" if what in self._expected else ""
            lines.append(f"{found:>{width},} {what}{differs}")
        return [*lines, *(f"note: {remark}" for remark in self.remarks)]
