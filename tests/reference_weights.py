"""Weights and inputs that follow from names, shapes and lengths alone (NumPy only), so that anyone
can make them."""

from __future__ import annotations

import itertools
import math
import re
import zlib
from collections.abc import Sequence
from typing import Any

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


def reference_shapes(keys: Any) -> dict[str, list[int]]:
    """The shape of each tensor, from the ``keys`` of a file of figures: pairs of name and shape, or
    a mapping in which a range of numbers stands for as many names (``layer1.0-2.conv1.weight``)."""
    if not isinstance(keys, dict):
        return dict(keys)
    found = {}
    for pattern, shape in keys.items():
        texts = re.split(r"\d+-\d+", pattern)
        bounds = re.findall(r"(\d+)-(\d+)", pattern)
        for numbers in itertools.product(*(range(int(a), int(b) + 1) for a, b in bounds)):
            name = "".join(f"{text}{number}" for text, number in zip(texts, numbers, strict=False))
            found[name + texts[-1]] = shape
    return found


def reference_weights(keys: Any) -> dict[str, np.ndarray]:
    """The state dict of these ``keys``: see :func:`reference_shapes`."""
    return {name: reference_weight(name, shape) for name, shape in reference_shapes(keys).items()}


def reference_features(frames: int, mels: int = 80) -> np.ndarray:
    """``[1, frames, mels]``."""
    return np.random.default_rng(frames).standard_normal((1, frames, mels)).astype("float32")
