"""Full precision within mixed precision: half precision cannot distinguish small angles."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import paddle

_FULL = (paddle.float32, paddle.float64)
_NOTHING_TO_DO: AbstractContextManager[None] = nullcontext()


def full_precision() -> AbstractContextManager[Any]:
    """A context in which no operation is cast to half precision."""
    # Entering auto_cast takes 40 us, so it is entered only if it has an effect.
    return paddle.amp.auto_cast(enable=False) if paddle.is_autocast_enabled() else _NOTHING_TO_DO


def as_float32(x: paddle.Tensor) -> paddle.Tensor:
    """``x`` as float32, from half precision; float64 stays.

    A cast to the same type would copy, forward and backward, so it is skipped.
    """
    return x if x.dtype in _FULL else x.astype("float32")
