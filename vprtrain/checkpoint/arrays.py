"""Named arrays in Paddle's ``.pdparams`` and ``.pdopt`` files, read without running code.

``paddle.load`` reads the files of :func:`write_arrays`. Such a file is a pickle: ``pickle`` and
``paddle.load`` run any code in a stranger's file, :func:`decode_arrays` runs none
(:mod:`vprtrain.checkpoint.pickles`).
"""

from __future__ import annotations

import io
import pickle
import re
from typing import Any, Protocol

import numpy as np

from vprtrain.checkpoint.pickles import Globals, read_pickle
from vprtrain.errors import CheckpointError, cause, shown

Arrays = dict[str, np.ndarray]
"""Named arrays, as one file of a checkpoint holds them."""


class Writer(Protocol):
    """A file to write to."""

    def write(self, data: bytes, /) -> int:
        """Write all of the data."""


PROTOCOL = 4  # as paddle.save
MOST_BYTES = 32 * 2**30
"""The largest file of arrays that is read."""


def encode_arrays(arrays: Arrays) -> bytes:
    """What :func:`write_arrays` writes."""
    file = io.BytesIO()
    write_arrays(arrays, file)
    return file.getvalue()


def write_arrays(arrays: Arrays, file: Writer) -> None:
    """Write the content of a file that holds these arrays, one array after the other."""
    contiguous = {name: np.asarray(value, order="C") for name, value in arrays.items()}
    pickler = pickle.Pickler(file, protocol=PROTOCOL)
    pickler.fast = True  # without a memo, which would keep a copy of every array to the end
    pickler.dump(contiguous)


def decode_arrays(data: bytes, source: str) -> Arrays:
    """The arrays of a file that :func:`write_arrays` wrote, or ``paddle.save`` of a state dict.
    They are read-only.

    Args:
        data: the file's content.
        source: the file, for error messages.

    Raises:
        CheckpointError: the bytes are not a pickle of named numeric arrays only, or arrays share
            bytes, which would take more memory in a model than the file has.
    """
    try:
        content = read_pickle(data, _GLOBALS)
    except Exception as error:  # a hostile or truncated pickle can raise almost anything
        raise CheckpointError(
            f"{source} is not a file of named arrays and was not read ({cause(error)})"
        ) from error
    if not isinstance(content, dict):
        raise CheckpointError(
            f"{source} holds a {type(content).__name__}, not a dictionary of named arrays"
        )
    content.pop("StructuredToParameterName@@", None)  # paddle.save's own table of names
    for name, value in content.items():
        if not isinstance(name, str):
            raise CheckpointError(
                f"{source} has an entry with the name {shown(name, 40)}, expected a text"
            )
        if not isinstance(value, _SavedArray) or value.array is None:
            kind = type(value).__name__
            raise CheckpointError(f"{source}: entry {shown(name)} is a {kind}, not a numeric array")
    arrays = {name: value.array for name, value in content.items()}
    if (size := sum(array.nbytes for array in arrays.values())) > len(data):
        raise CheckpointError(
            f"{source} has {len(data)} bytes and its arrays have {size}: expected own bytes for "
            "each array"
        )
    return arrays


class _SavedType:
    """Stands in for a ``numpy.dtype``."""

    def __init__(self, code: str, *_: bool) -> None:
        if not re.fullmatch(r"[biufc]\d{1,2}", code):
            raise ValueError(f"it holds an array of type {shown(code)}, which is not numeric")
        self.dtype = np.dtype(code)

    def build(self, state: tuple[Any, ...]) -> None:
        self.dtype = self.dtype.newbyteorder(state[1])


class _SavedArray:
    """Stands in for a ``numpy.ndarray``."""

    def __init__(self, *_: Any) -> None:
        self.array: np.ndarray | None = None

    def build(self, state: tuple[int, tuple[int, ...], _SavedType, bool, bytes]) -> None:
        _, shape, saved_type, is_fortran, data = state
        # A view, not a copy: a hostile file may use the same bytes a million times.
        self.array = np.frombuffer(data, saved_type.dtype).reshape(
            shape, order="F" if is_fortran else "C"
        )


_GLOBALS: Globals = {
    ("numpy", "ndarray"): None,  # only an argument of _reconstruct
    ("numpy", "dtype"): _SavedType,
    ("numpy._core.multiarray", "_reconstruct"): _SavedArray,
    ("numpy.core.multiarray", "_reconstruct"): _SavedArray,
}
