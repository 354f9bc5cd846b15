"""Names in lists that differ only in what people do not see."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable


def first_alike(names: Iterable[str]) -> tuple[str, str] | None:
    """The first two different names that look the same, if there are any: they differ in blanks,
    as ``spk`` and ``spk `` do, in the Unicode form of a letter, or in characters without width."""
    known: dict[str, str] = {}
    for name in names:
        visible = name if name.isascii() else _visible(name)
        seen = " ".join(visible.split())
        other = known.setdefault(seen, name)
        if other != name:
            return other, name
    return None


def _visible(name: str) -> str:
    composed = unicodedata.normalize("NFC", name)
    return "".join(each for each in composed if unicodedata.category(each) != "Cf")
