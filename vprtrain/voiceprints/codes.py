"""Voiceprints in one byte a value, with a bound on what the rounding can change in a cosine.

A voiceprint v of length 1 is written as ``step * code`` plus a rest of the length ``error``. For a
vector u of length 1, written the same way, the inequality of Cauchy and Schwarz gives::

    |v @ u - step_v * step_u * (code_v @ code_u)| <= error_v * (1 + error_u) + (1 + slack) * error_u

so a search through codes knows which voiceprints can be the nearest, whatever their values.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from vprtrain.errors import shown
from vprtrain.voiceprints.products import squared_lengths

MOST_UNIT_ERROR = 1e-3
"""The largest difference between 1 and the length of a voiceprint, which is rounded to float32."""
_LEVELS = 127
_HEAD = np.dtype([("step", "<f4"), ("error", "<f4")])


def code_type(dimension: int) -> np.dtype[np.void]:
    """The record of one voiceprint ``[dimension]``: ``step`` and ``error`` (float32), and ``code``
    (int8 ``[dimension]``)."""
    return np.dtype([*((name, "<f4") for name in _HEAD.names or ()), ("code", "i1", (dimension,))])


def dimension_of(code: object) -> int:
    """The number of values of the code in a row; less than 1 if it is no code."""
    return len(code) - _HEAD.itemsize if isinstance(code, bytes) else 0


def encode(vectors: np.ndarray) -> np.ndarray:
    """The codes of vectors ``[vectors, dimension]``, as records of :func:`code_type`."""
    exact = np.asarray(vectors, dtype=np.float64)
    records = np.zeros(len(exact), code_type(exact.shape[1]))
    records["step"] = np.abs(exact).max(axis=1) / _LEVELS
    steps = records["step"].astype(np.float64)[:, None]
    codes = np.rint(np.divide(exact, steps, out=np.zeros_like(exact), where=steps > 0))
    records["code"] = np.clip(codes, -_LEVELS, _LEVELS)
    rest = exact - steps * records["code"]
    errors = np.sqrt(np.einsum("vd,vd->v", rest, rest))
    # Rounded up, so that it stays a bound.
    records["error"] = np.nextafter(errors.astype(np.float32), np.float32(np.inf))
    return records


def codes_of(
    names: Sequence[object], codes: bytes | Sequence[object], dimension: int | None
) -> np.ndarray:
    """The codes in some rows, as records of :func:`code_type`.

    Args:
        names: the name of each row, for messages.
        codes: the code of each row; or bytes, all of them in a row, of one length.
        dimension: of the codes in other rows; ``None`` for that of the first row here.

    Raises:
        ValueError: a row does not hold the code of a vector of length 1.
    """
    blobs = codes if isinstance(codes, bytes) else _joined(names, codes)
    found = len(blobs) // len(names) - _HEAD.itemsize
    if dimension is None:
        dimension = found
    if dimension < 1 or found != dimension:
        code = blobs[: len(blobs) // len(names)]
        raise ValueError(
            f"the code of {shown(names[0])} is {shown(code, 40)}, expected {dimension} values"
        )
    records = np.frombuffer(blobs, code_type(dimension))
    steps, errors = records["step"], records["error"]
    with np.errstate(invalid="ignore", over="ignore"):
        lengths = steps * np.sqrt(squared_lengths(records["code"]))
        most = steps * np.sqrt(np.float32(dimension)) * np.float32(0.5 + 1e-3)
        right = (errors >= 0) & (errors <= most) & (np.abs(lengths - 1) <= errors + MOST_UNIT_ERROR)
    wrong = np.flatnonzero(~right)  # a NaN too
    if len(wrong):
        first = wrong[0]
        raise ValueError(
            f"the code of {shown(names[first])} has the length {lengths[first]:g}, expected 1"
        )
    return records


def _joined(names: Sequence[object], codes: Sequence[object]) -> bytes:
    """The codes of some rows in a row, if they have one length."""
    blobs = [code for code in codes if isinstance(code, bytes)]
    if len(blobs) < len(codes) or len(set(map(len, blobs))) > 1:
        length = len(blobs[0]) if blobs else 0
        name, code = next(
            pair
            for pair in zip(names, codes, strict=True)
            if not isinstance(pair[1], bytes) or len(pair[1]) != length
        )
        raise ValueError(
            f"the code of {shown(name)} is {shown(code, 40)}, expected "
            f"{max(0, length - _HEAD.itemsize)} values"
        )
    return b"".join(blobs)
