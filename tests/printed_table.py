"""A table of figures that a module of tests prints at its end, whatever pytest captures."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest


@contextmanager
def printed_at_end(request: pytest.FixtureRequest, header: str) -> Iterator[list[Any]]:
    """A list for the rows, which are printed below the header when the context ends."""
    rows: list[Any] = []
    yield rows
    capture = request.config.pluginmanager.getplugin("capturemanager")
    with capture.global_and_fixture_disabled():
        print(f"\n{header}", *rows, sep="\n")
