"""Conversions of a tensor to a value of Python or NumPy: each one waits for a GPU."""

from __future__ import annotations

import paddle
import pytest

FETCHES = (
    "numpy",
    "item",
    "tolist",
    "__bool__",
    "__float__",
    "__int__",
    "__array__",
    "__index__",
)


def forbid_fetches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every later fetch of the test fail it."""
    for name in FETCHES:
        monkeypatch.setattr(paddle.Tensor, name, lambda *_: pytest.fail("a value was fetched"))
