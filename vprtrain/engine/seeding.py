"""Keys instead of generator states: every random draw is a function of a key, which is made of the
seed and a position."""

from __future__ import annotations

import hashlib
import random
import struct

import numpy as np
import paddle


def key(seed: int, *position: int) -> int:
    """A 63-bit number that depends on every argument. Neighbouring positions give unrelated
    keys."""
    packed = struct.pack(f"<{1 + len(position)}q", seed, *position)
    return int.from_bytes(hashlib.blake2b(packed, digest_size=8).digest(), "little") >> 1


def seed_all(seed: int) -> None:
    """Seed the global generators of Python, NumPy and Paddle, for draws before training starts."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    paddle.seed(seed)
