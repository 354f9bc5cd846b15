"""The rows of a database of voiceprints, which may come from a stranger, as values."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from vprtrain.errors import UsageError, shown
from vprtrain.voiceprints.codes import MOST_UNIT_ERROR
from vprtrain.voiceprints.user import MAX_NAME, checked_name


def vector_of(blob: object) -> np.ndarray:
    """The embedding in a row, float32 ``[dimension]``.

    Raises:
        ValueError: the row does not hold finite float32 numbers.
    """
    if not isinstance(blob, bytes) or not blob or len(blob) % 4:
        raise ValueError(f"an embedding is {shown(blob, 40)}")
    vector = np.frombuffer(blob, dtype="<f4")
    if not np.isfinite(vector).all():
        raise ValueError("an embedding is not finite")
    return vector


def name_of(value: object) -> str:
    """The name in a row.

    Raises:
        ValueError: it is not a name that :func:`checked_name` gives.
    """
    if isinstance(value, str) and value.isprintable() and 0 < len(value) <= MAX_NAME:
        return value  # most names, without a look at each character
    wrong = ValueError(f"a user's name is {shown(value)}")
    if not isinstance(value, str):
        raise wrong
    try:
        composed = checked_name(value)
    except UsageError as error:
        raise wrong from error
    if composed != value:
        raise wrong
    return value


def names_of(values: Sequence[object]) -> list[str]:
    """The names in some rows.

    Raises:
        ValueError: one is not a name that :func:`checked_name` gives.
    """
    if set(map(type, values)) == {str}:
        names: list[str] = list(values)  # type: ignore[arg-type]
        if all(names) and max(map(len, names)) <= MAX_NAME and "".join(names).isprintable():
            return names  # most names, without a look at each one
    return [name_of(value) for value in values]


def voiceprints_of(users: Sequence[tuple[object, object]], dimension: int) -> np.ndarray:
    """The voiceprints of some rows, float32 ``[rows, dimension]``.

    Args:
        users: name and voiceprint of each row.
        dimension: of the codes that these rows were found by.

    Raises:
        ValueError: a voiceprint is not float32 ``[dimension]`` of length 1. A NaN would be the
            highest score of every search.
    """
    for name, blob in users:
        if not isinstance(blob, bytes) or len(blob) != 4 * dimension:
            raise ValueError(
                f"the voiceprint of {shown(name)} is {shown(blob, 40)}, expected {dimension} values"
            )
    blobs = b"".join(blob for _, blob in users if isinstance(blob, bytes))
    vectors = np.frombuffer(blobs, dtype="<f4").reshape(len(users), dimension)
    lengths = np.sqrt(np.einsum("ij,ij->i", vectors, vectors, dtype=np.float64))
    wrong = np.flatnonzero(~(np.abs(lengths - 1) <= MOST_UNIT_ERROR))  # a NaN too
    if len(wrong):
        name, length = users[wrong[0]][0], lengths[wrong[0]]
        raise ValueError(f"the voiceprint of {shown(name)} has the length {length:g}, expected 1")
    return vectors
