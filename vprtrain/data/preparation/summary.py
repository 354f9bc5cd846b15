"""The counts of a preparation, compared with those of complete archives."""

from __future__ import annotations

from dataclasses import dataclass, field

from vprtrain.errors import printable

_NAMED = 5
"""The names that a remark has at most."""


@dataclass
class _Skipped:
    count: int = 0
    names: list[str] = field(default_factory=list)


class Summary:
    """Counts and remarks; ``str()`` gives a text for people, escaped for a terminal."""

    def __init__(self) -> None:
        self.counts: dict[str, int] = {}
        self.measures: dict[str, float] = {}
        self.remarks: list[str] = []
        self.next_commands: dict[str, str] = {}
        """What to run on the result, by a title for each."""
        self._expected: dict[str, int] = {}
        self._skipped: dict[str, _Skipped] = {}

    def count(self, what: str, found: int, *, expected: int | None = None) -> None:
        """Add a count.

        A count that differs from ``expected``, that of the complete archive, is marked but is no
        error, because archives change.
        """
        self.counts[what] = found
        if expected is not None and expected != found:
            self._expected[what] = expected

    def measure(self, what: str, value: float) -> None:
        """Add a number that is no count."""
        self.measures[what] = value

    def remark(self, text: str) -> None:
        """Add something that a person should know."""
        self.remarks.append(text)

    def skip(self, path: str, reason: str) -> None:
        """Count a file that is left out. The first few of each reason are named."""
        skipped = self._skipped.setdefault(reason, _Skipped())
        skipped.count += 1
        if len(skipped.names) < _NAMED:
            skipped.names.append(path)

    def remark_names(self, what: str, names: list[str]) -> None:
        """Add a remark on unexpected names, if there are any: their number and the first five."""
        if names:
            self.remark(_counted(len(names), what, names[:_NAMED]))

    def __str__(self) -> str:
        return "\n".join(map(printable, self.lines))

    @property
    def lines(self) -> list[str]:
        """The text for people; names in it are as they are."""
        numbers = {what: f"{found:,}" for what, found in self.counts.items()}
        numbers |= {what: f"{value:,.{_decimals(value)}f}" for what, value in self.measures.items()}
        width = max(map(len, numbers.values()), default=0)
        lines = []
        for what, number in numbers.items():
            differs = f"  (complete: {self._expected[what]:,})" if what in self._expected else ""
            lines.append(f"{number:>{width}} {what}{differs}")
        skipped = [
            _counted(found.count, f"files are skipped ({reason})", found.names)
            for reason, found in self._skipped.items()
        ]
        lines += [f"note: {remark}" for remark in [*self.remarks, *skipped]]
        for title, command in self.next_commands.items():
            lines += [f"{title}:", f"  {command}"]
        return lines


def _decimals(value: float) -> int:
    """Two of a small number, none of a large one."""
    return max(0, 3 - len(str(int(value))))


def _counted(count: int, what: str, names: list[str]) -> str:
    others = f" and {count - len(names)} more" if count > len(names) else ""
    return f"{count:,} {what}: {', '.join(names)}{others}"
