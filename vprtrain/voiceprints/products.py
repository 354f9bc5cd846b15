"""Exact dot products of codes, with the byte arithmetic of the extra ``vprtrain[search]`` where it
is installed."""

from __future__ import annotations

from importlib.util import find_spec

import numpy as np

HAS_BYTE_PRODUCTS = find_spec("simsimd") is not None
if HAS_BYTE_PRODUCTS:
    import simsimd


def code_values() -> type[np.int8] | type[np.float32]:
    """The type of a code's values that :func:`products` is fast with. NumPy multiplies bytes ten
    times more slowly than floats."""
    return np.int8 if HAS_BYTE_PRODUCTS else np.float32


def products(codes: np.ndarray, probe: np.ndarray) -> np.ndarray:
    """The dot products of codes ``[rows, dimension]`` with one, floats ``[rows]``."""
    if not HAS_BYTE_PRODUCTS:
        return np.asarray(codes @ probe.astype(np.float32))
    return np.asarray(simsimd.cdist(probe[None], codes, metric="dot"))[0]


def squared_lengths(codes: np.ndarray) -> np.ndarray:
    """The dot products of codes int8 ``[rows, dimension]`` with themselves, float32 ``[rows]``."""
    if HAS_BYTE_PRODUCTS and len(codes) > 1:
        return np.asarray(simsimd.dot(codes, codes), dtype=np.float32)
    values = codes.astype(np.float32)
    return np.asarray(np.einsum("vd,vd->v", values, values))
