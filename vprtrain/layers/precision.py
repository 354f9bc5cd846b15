"""Full precision inside a forward pass of mixed precision: half precision cannot tell neighbouring
angles apart."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import paddle

_NOTHING_TO_DO: AbstractContextManager[None] = nullcontext()


def full_precision() -> AbstractContextManager[Any]:
    """Within it no operation is cast to half precision, whatever is around it."""
    # Entering auto_cast takes 40 us, so only where it changes something.
    return paddle.amp.auto_cast(enable=False) if paddle.is_autocast_enabled() else _NOTHING_TO_DO


def as_float32(x: paddle.Tensor) -> paddle.Tensor:
    """``x``, cast where it has another type: a cast to the same one would cost a copy, forward and
    backward."""
    return x if x.dtype == paddle.float32 else x.astype("float32")
