"""Keys instead of generator states: whatever is random is a function of a key made of the seed and
a position."""

from __future__ import annotations

import hashlib
import random
import struct

import numpy as np
import paddle


def key(seed: int, *position: int) -> int:
    """A 63-bit number that depends on every argument; neighbouring positions give unrelated
    keys."""
    packed = struct.pack(f"<{1 + len(position)}q", seed, *position)
    return int.from_bytes(hashlib.blake2b(packed, digest_size=8).digest(), "little") >> 1


def seed_all(seed: int) -> None:
    """Seed Python's, NumPy's and Paddle's global generators, for whatever is drawn before training
    starts."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    paddle.seed(seed)
