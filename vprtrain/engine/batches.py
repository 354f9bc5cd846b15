"""Iterators over batches, closed when the loop leaves them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol, runtime_checkable


@runtime_checkable
class _Closable(Protocol):
    def close(self) -> None: ...


@contextmanager
def closing(batches: Iterator[Any] | None) -> Iterator[Iterator[Any]]:
    """Iterate over the batches (none for ``None``); call ``close()`` at the end, if there is
    one."""
    iterator = iter(batches if batches is not None else ())
    try:
        yield iterator
    finally:
        if isinstance(iterator, _Closable):
            iterator.close()
