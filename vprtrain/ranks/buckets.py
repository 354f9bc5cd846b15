"""Groups of small tensors that are reduced by one collective call."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import paddle

BUCKET_BYTES = 25 * 2**20
"""A call for each small tensor, hundreds in all, would take longer than the sums themselves."""


def buckets(tensors: Sequence[paddle.Tensor], limit: int) -> Iterator[list[paddle.Tensor]]:
    """Group tensors for reduction: same dtype, given order, at most ``limit`` bytes together.

    A tensor of ``limit`` bytes or more is a bucket of its own.
    """
    pending: dict[Any, list[paddle.Tensor]] = {}
    sizes: dict[Any, int] = {}
    for tensor in tensors:
        dtype = tensor.dtype
        size = math.prod(tensor.shape) * tensor.element_size()  # tensor.size is far slower
        if size >= limit:
            yield [tensor]
            continue
        if sizes.get(dtype, limit) + size > limit:
            if dtype in pending:
                yield pending[dtype]
            pending[dtype], sizes[dtype] = [], 0
        pending[dtype].append(tensor)
        sizes[dtype] += size
    yield from pending.values()
