"""What a preparation found, counted, beside what complete archives hold."""

from __future__ import annotations


class Summary:
    """Counts and remarks; as a string, for people."""

    def __init__(self) -> None:
        self.counts: dict[str, int] = {}
        self.remarks: list[str] = []
        self._expected: dict[str, int] = {}

    def count(self, what: str, found: int, *, expected: int | None = None) -> None:
        """Take up a number. One other than that of the complete archive is said, and no more:
        archives change."""
        self.counts[what] = found
        if expected is not None and expected != found:
            self._expected[what] = expected

    def remark(self, text: str) -> None:
        """Take up something that a person should know."""
        self.remarks.append(text)

    def remark_names(self, what: str, names: list[str]) -> None:
        """Take up names that there should not be any of: how many, and the first few."""
        if names:
            others = f" and {len(names) - 5} more" if len(names) > 5 else ""
            self.remark(f"{len(names):,} {what}: {', '.join(names[:5])}{others}")

    def __str__(self) -> str:
        width = max((len(f"{found:,}") for found in self.counts.values()), default=0)
        lines = []
        for what, found in self.counts.items():
            differs = f"  (complete: {self._expected[what]:,})" if what in self._expected else ""
            lines.append(f"{found:>{width},} {what}{differs}")
        return "\n".join([*lines, *(f"note: {remark}" for remark in self.remarks)])
