"""Conversions of a tensor to a value of Python or NumPy: each one waits for a GPU."""

from __future__ import annotations

import paddle
import pytest
from fetch_counter import FETCHES


def forbid_fetches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every later fetch of the test fail it."""
    for name in FETCHES:
        monkeypatch.setattr(paddle.Tensor, name, lambda *_: pytest.fail("a value was fetched"))
