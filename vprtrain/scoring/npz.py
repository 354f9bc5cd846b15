"""Files of :func:`numpy.savez` that may come from a stranger."""

from __future__ import annotations

import io
import zipfile

import numpy as np

from vprtrain.errors import cause, shown
from vprtrain.files import StrPath, read_file


def read_npz(path: StrPath, most: int) -> dict[str, np.ndarray]:
    """The arrays of a file by name. Nothing in the file is executed.

    Args:
        most: the most bytes that such a file may have.

    Raises:
        ValueError: the file cannot be read, or is damaged or compressed; the message says why.
    """
    try:
        return npz_arrays(read_file(path, most))
    except OSError as error:
        raise ValueError(cause(error)) from error


def npz_arrays(content: bytes) -> dict[str, np.ndarray]:
    """The arrays of a file's content, as :func:`read_npz`.

    Raises:
        ValueError: the content is damaged or compressed; the message says why.
    """
    try:
        file = io.BytesIO(content)
        with zipfile.ZipFile(file) as archive:
            if sum(entry.file_size for entry in archive.infolist()) > len(file.getbuffer()):
                raise ValueError("it is compressed")  # np.savez does not compress: it is a bomb
        with np.load(file, allow_pickle=False) as members:
            arrays = {name: members[name] for name in members}
    except Exception as error:  # a damaged archive can raise almost anything
        raise ValueError(cause(error)) from error
    if others := [name for name, array in arrays.items() if not isinstance(array, np.ndarray)]:
        raise ValueError(f"not an array: {shown(others)}")
    return arrays
