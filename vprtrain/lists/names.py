"""Names in lists that differ only in what people do not see."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable


def first_alike(names: Iterable[str]) -> tuple[str, str] | None:
    """The first two different names that look the same, if there are any: they differ in blanks,
    as ``spk`` and ``spk `` do, or in the Unicode form of a letter."""
    known: dict[str, str] = {}
    for name in names:
        seen = " ".join(unicodedata.normalize("NFC", name).split())
        other = known.setdefault(seen, name)
        if other != name:
            return other, name
    return None
