"""Layers whose weights have sizes but no memory yet, so that sizes can be compared first."""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import paddle

from vprtrain.errors import require_whole

MOST_CHANNELS = 65_536
"""The most channels of a layer, and values of a frame or an embedding, that an option may ask for.
Products of a few such numbers are still sizes that Paddle accepts."""

_LOCK = threading.RLock()
_STORED_AS = {"bfloat16": "uint16"}
"""The types of arrays that NumPy does not have."""


def require_channels(**options: object) -> None:
    """Refuse widths that are not whole numbers from 1 to :data:`MOST_CHANNELS`.

    Raises:
        UsageError: a value is none.
    """
    for name, value in options.items():
        require_whole(name, value, 1, MOST_CHANNELS)


@contextmanager
def without_memory() -> Iterator[None]:
    """A context in which layers are built without memory for their parameters, and without drawing
    values. ``set_value`` gives a parameter both.

    Paddle's guard holds for the whole process: threads that build vprtrain's models take turns, and
    no other thread may build layers of its own meanwhile. A constructor that computes with its
    parameters fails in this context.
    """
    with _LOCK, paddle.LazyGuard():
        yield


def form(tensor: paddle.Tensor) -> tuple[tuple[int, ...], np.dtype]:
    """The shape and the type of a tensor's array. A tensor without memory has both."""
    name = str(tensor.dtype).removeprefix("paddle.")
    return tuple(tensor.shape), np.dtype(_STORED_AS.get(name, name))


def count_values(*layers: paddle.nn.Layer) -> int:
    """The number of values of all parameters and persistent buffers."""
    return sum(
        math.prod(tensor.shape) for layer in layers for tensor in layer.state_dict().values()
    )
