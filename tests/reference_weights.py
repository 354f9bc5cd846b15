"""Weights and inputs that follow from names, shapes and lengths alone (NumPy only), so that anyone
can make them."""

from __future__ import annotations

import math
import zlib
from collections.abc import Sequence

import numpy as np

FRAMES = (98, 200, 257, 345)


def reference_weight(name: str, shape: Sequence[int]) -> np.ndarray:
    """The tensor ``name`` of a state dict of PyTorch or Paddle. Matrices are divided by the square
    root of the product of all axes but the first."""
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    last = name.rsplit(".", 1)[-1]
    if last == "num_batches_tracked":
        return np.zeros(shape, "int64")
    if last in ("running_var", "_variance") or (last == "weight" and len(shape) == 1):
        value = 0.5 + rng.random(shape)
    elif last in ("running_mean", "_mean") or len(shape) == 1:
        value = 0.1 * rng.standard_normal(shape)
    else:
        value = rng.standard_normal(shape) / math.sqrt(math.prod(shape[1:]))
    return value.astype("float32")


def reference_features(frames: int, mels: int = 80) -> np.ndarray:
    """``[1, frames, mels]``."""
    return np.random.default_rng(frames).standard_normal((1, frames, mels)).astype("float32")
