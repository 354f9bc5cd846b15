"""Named arrays as the ``.pdparams`` / ``.pdopt`` files that Paddle's users expect, read without
running code.

``paddle.load`` reads what :func:`encode_arrays` writes. Such a file is a pickle, and ``pickle`` or
``paddle.load`` runs whatever a stranger's file says; :func:`decode_arrays` runs nothing
(:mod:`vprtrain.checkpoint.pickles`).
"""

from __future__ import annotations

import pickle
import re
from typing import Any

import numpy as np

from vprtrain.checkpoint.pickles import Globals, read_pickle
from vprtrain.errors import CheckpointError

Arrays = dict[str, np.ndarray]

PROTOCOL = 4  # what paddle.save writes


def encode_arrays(arrays: Arrays) -> bytes:
    """Bytes of a dictionary of arrays."""
    contiguous = {name: np.asarray(value, order="C") for name, value in arrays.items()}
    return pickle.dumps(contiguous, protocol=PROTOCOL)


def decode_arrays(data: bytes, source: str) -> Arrays:
    """The arrays of a file written by :func:`encode_arrays` or by ``paddle.save`` of a state dict;
    read-only.

    Args:
        data: the file's content.
        source: what the error names.

    Raises:
        CheckpointError: the bytes are not a pickle of named numeric arrays, or ask for anything
            else.
    """
    try:
        content = read_pickle(data, _GLOBALS)
    except Exception as error:  # a hostile or torn pickle can raise nearly anything
        raise CheckpointError(
            f"{source} is not a file of named arrays and was not read ({type(error).__name__}: {error})"
        ) from error
    if not isinstance(content, dict):
        raise CheckpointError(
            f"{source} holds a {type(content).__name__}, not a dictionary of named arrays"
        )
    content.pop("StructuredToParameterName@@", None)  # paddle.save's own map of names
    for name, value in content.items():
        if not isinstance(name, str):
            raise CheckpointError(f"{source} names an entry {name!r:.40}, expected a text")
        if not isinstance(value, _SavedArray) or value.array is None:
            kind = type(value).__name__
            raise CheckpointError(f"{source}: entry {name!r} is a {kind}, not a numeric array")
    return {name: value.array for name, value in content.items()}


class _SavedType:
    """Stands for a ``numpy.dtype``."""

    def __init__(self, code: str, *_: bool) -> None:
        if not re.fullmatch(r"[biufc]\d+", code):
            raise ValueError(f"it holds an array of type {code!r}, which is not numeric")
        self.dtype = np.dtype(code)

    def build(self, state: tuple[Any, ...]) -> None:
        self.dtype = self.dtype.newbyteorder(state[1])


class _SavedArray:
    """Stands for a ``numpy.ndarray``."""

    def __init__(self, *_: Any) -> None:
        self.array: np.ndarray | None = None

    def build(self, state: tuple[int, tuple[int, ...], _SavedType, bool, bytes]) -> None:
        _, shape, saved_type, is_fortran, data = state
        # A view, no copy: a file may use the same bytes a million times over.
        self.array = np.frombuffer(data, saved_type.dtype).reshape(
            shape, order="F" if is_fortran else "C"
        )


_GLOBALS: Globals = {
    ("numpy", "ndarray"): None,  # only ever an argument, which says nothing new
    ("numpy", "dtype"): _SavedType,
    ("numpy._core.multiarray", "_reconstruct"): _SavedArray,
    ("numpy.core.multiarray", "_reconstruct"): _SavedArray,
}
