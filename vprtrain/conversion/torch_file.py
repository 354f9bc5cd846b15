"""The tensors of a file that ``torch.save`` wrote, without PyTorch and without running code.

Two formats are read. Since PyTorch 1.6 such a file is a zip archive, uncompressed:
``<name>/data.pkl`` is a pickle whose tensors refer to storages, ``<name>/data/<key>`` the bytes of
one storage. Before, it was a run of pickles (magic number, version, machine, content, keys of the
storages) with the storages' bytes behind.
"""

from __future__ import annotations

import io
import math
import os
import struct
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from vprtrain.checkpoint.arrays import MOST_BYTES, Arrays
from vprtrain.checkpoint.pickles import Globals, read_pickle
from vprtrain.errors import CheckpointError, UsageError, cause, shown
from vprtrain.files import read_file

_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
_LEGACY_VERSION = 1001
_MOST_AXES = 16
# The records at the end of a zip archive, in their order: signature; bytes of the directory; bytes
# of the comment.
_ZIP64_END = struct.Struct("<4s36xQ8x")
_ZIP64_LOCATOR = struct.Struct("<4s16x")
_END = struct.Struct("<4s8xI4xH")
_MOST_DIRECTORY_BYTES = 4 * 2**20  # of a zip archive: about 40,000 tensors


def read_torch_tensors(path: Path) -> Arrays:
    """The state dict that a file holds, alone or as the one dictionary of tensors among other
    entries.

    Types are as saved, but bfloat16, which NumPy does not have, comes as float32. The arrays are
    read-only, and those that shared their storage still do.

    Raises:
        UsageError: there is no such file.
        CheckpointError: it is not a file of named tensors, is torn, or asks for anything else.
    """
    if not os.path.isfile(path):  # unlike Path.is_file, False for any odd path
        raise UsageError(f"{path} is not a file: give the one that torch.save wrote")
    try:
        with open(path, "rb") as file:
            read = _read_zip if zipfile.is_zipfile(file) else _read_legacy
        content = _only_state_dict(read(path))
        _refuse_more_numbers_than_bytes(content, path.stat().st_size)
        return {name: tensor.array() for name, tensor in content.items()}
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read ({error.strerror or error})") from error
    except Exception as error:  # a hostile or torn file can raise nearly anything
        raise CheckpointError(
            f"{path} is not a whole file of PyTorch tensors and was not read ({cause(error)})"
        ) from error


class _Storage:
    """A run of numbers of one type, which tensors are views of."""

    def __init__(self, dtype: str, key: str, size: int) -> None:
        self.dtype = dtype
        self.key = key
        self.size = size
        self.numbers = np.empty(0)

    @property
    def stored_type(self) -> np.dtype:
        return np.dtype("u2" if self.dtype == "bfloat16" else self.dtype)

    def fill(self, data: bytes, byte_order: Literal["<", ">"]) -> None:
        stored = self.stored_type.newbyteorder(byte_order)
        if len(data) != self.size * stored.itemsize:
            raise ValueError(
                f"storage {shown(self.key, 40)} has {len(data)} bytes, expected {self.size} of "
                f"{stored.itemsize}"
            )
        self.numbers = np.frombuffer(data, stored)


@dataclass(frozen=True)
class _Tensor:
    """A view of a storage; offset and strides count numbers, not bytes."""

    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    def array(self) -> np.ndarray:
        numbers = self.storage.numbers[self.offset :]
        last = sum(
            (count - 1) * stride for count, stride in zip(self.shape, self.strides, strict=True)
        )
        if math.prod(self.shape) and last >= len(numbers):
            raise ValueError(
                f"a tensor of shape {shown(self.shape, 60)} reaches behind the end of its storage"
            )
        strides = tuple(stride * numbers.itemsize for stride in self.strides)
        view = np.lib.stride_tricks.as_strided(numbers, self.shape, strides, writeable=False)
        if self.storage.dtype != "bfloat16":
            return view
        return (view.astype("u4") << 16).view("f4")  # bfloat16 is the upper half of a float32


def _rebuild_tensor(storage: _Storage, offset: int, shape: Any, strides: Any, *_: Any) -> _Tensor:
    """What comes behind (whether a gradient is required, hooks) says nothing of the numbers."""
    if not isinstance(storage, _Storage) or len(shape) != len(strides):
        raise ValueError("a tensor has no storage, or not as many strides as axes")
    if len(shape) > _MOST_AXES:
        raise ValueError(f"a tensor has {len(shape)} axes, expected at most {_MOST_AXES}")
    if not all(_is_count(number) for number in (offset, *shape, *strides)):
        raise ValueError("a tensor's offset, shape and strides must be whole numbers from 0")
    return _Tensor(storage, offset, tuple(shape), tuple(strides))


def _is_count(number: object) -> bool:
    return type(number) is int and 0 <= number < 2**63


def _rebuild_parameter(data: _Tensor, *_: Any) -> _Tensor:
    return data


class _OrderedDict(dict[str, Any]):
    """Stands for ``collections.OrderedDict``; what a state dict carries as attributes are versions
    of layers."""

    def __init__(self) -> None:
        super().__init__()

    def build(self, state: Any) -> None:
        pass


@dataclass(frozen=True)
class _StorageType:
    """Stands for a class such as ``torch.FloatStorage``; never called."""

    dtype: str


_STORAGE_TYPES = {
    **{"Half": "f2", "BFloat16": "bfloat16", "Float": "f4", "Double": "f8", "ComplexFloat": "c8"},
    **{
        "ComplexDouble": "c16",
        "Bool": "?",
        "Byte": "u1",
        "Char": "i1",
        "Short": "i2",
        "Int": "i4",
        "Long": "i8",
    },
}
_GLOBALS: Globals = {
    ("collections", "OrderedDict"): _OrderedDict,
    ("torch._utils", "_rebuild_tensor"): _rebuild_tensor,
    ("torch._utils", "_rebuild_tensor_v2"): _rebuild_tensor,
    ("torch._utils", "_rebuild_parameter"): _rebuild_parameter,
    **{("torch", f"{name}Storage"): _StorageType(dtype) for name, dtype in _STORAGE_TYPES.items()},
}


class _Storages(dict[str, _Storage]):
    """The storages that a pickle has referred to, by key."""

    def refer(self, identity: Any) -> _Storage:
        kind, storage_type, key, _, size, *view = identity
        if kind != "storage" or not isinstance(storage_type, _StorageType) or any(view):
            raise ValueError(
                f"it refers to a {shown(kind, 40)}, which a file of tensors never needs"
            )
        if not isinstance(key, str) or not _is_count(size):
            raise ValueError("a storage's key must be a text, and its size a whole number from 0")
        return self.setdefault(key, _Storage(storage_type.dtype, key, size))


def _read_zip(path: Path) -> Any:
    storages = _Storages()
    _refuse_long_directory(path)
    with zipfile.ZipFile(path) as archive:
        entries = archive.infolist()
        if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
            raise ValueError("it is compressed, which torch.save never does")
        if sum(entry.file_size for entry in entries) > path.stat().st_size:
            raise ValueError("its parts together are longer than itself")
        pickles = [
            entry.filename for entry in entries if entry.filename.rpartition("/")[2] == "data.pkl"
        ]
        if len(pickles) != 1:
            raise ValueError(f"it has {len(pickles)} parts called data.pkl, expected one")
        folder = pickles[0].removesuffix("data.pkl")
        content = read_pickle(archive.read(pickles[0]), _GLOBALS, storages.refer)
        names = {entry.filename for entry in entries}
        is_big = f"{folder}byteorder" in names and archive.read(f"{folder}byteorder") == b"big"
        for key, storage in storages.items():
            storage.fill(archive.read(f"{folder}data/{key}"), ">" if is_big else "<")
    return content


def _refuse_long_directory(path: Path) -> None:
    """Check the size of an archive's directory, which ``zipfile`` reads without a limit.

    Raises:
        ValueError: it is too long, or does not end the file, as it does for torch.save.
    """
    tail_bytes = _ZIP64_END.size + _ZIP64_LOCATOR.size + _END.size
    with open(path, "rb") as file:
        file.seek(-min(tail_bytes, path.stat().st_size), os.SEEK_END)
        tail = file.read().rjust(tail_bytes, b"\0")
    wide_signature, wide_size = _ZIP64_END.unpack_from(tail)
    (locator,) = _ZIP64_LOCATOR.unpack_from(tail, _ZIP64_END.size)
    signature, size, comment = _END.unpack_from(tail, _ZIP64_END.size + _ZIP64_LOCATOR.size)
    is_wide = locator == b"PK\6\7"
    if signature != b"PK\5\6" or comment or (is_wide and wide_signature != b"PK\6\6"):
        raise ValueError("its directory is not at the end, where torch.save writes it")
    size = wide_size if is_wide else size
    if size > _MOST_DIRECTORY_BYTES:
        raise ValueError(
            f"its directory has {size} bytes, expected at most {_MOST_DIRECTORY_BYTES}"
        )


def _read_legacy(path: Path) -> Any:
    storages = _Storages()
    file = io.BytesIO(read_file(path, MOST_BYTES))
    if read_pickle(file, {}) != _LEGACY_MAGIC or read_pickle(file, {}) != _LEGACY_VERSION:
        raise ValueError("it begins neither as a zip archive nor as torch.save's older format")
    is_little = read_pickle(file, {})["little_endian"]
    content = read_pickle(file, _GLOBALS, storages.refer)
    for key in read_pickle(file, {}):
        if not isinstance(key, str):  # checked before it is hashed
            raise ValueError(f"a storage's key is a {type(key).__name__}, expected a text")
        storage = storages.pop(key)
        size = int.from_bytes(file.read(8), "little" if is_little else "big")
        if size != storage.size:
            raise ValueError(
                f"storage {shown(key, 40)} has {size} numbers, expected {storage.size}"
            )
        storage.fill(file.read(size * storage.stored_type.itemsize), "<" if is_little else ">")
    if storages:
        raise ValueError(f"{len(storages)} storages are missing")
    return content


def _is_state_dict(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and bool(value)
        and all(isinstance(entry, _Tensor) for entry in value.values())
    )


def _only_state_dict(content: Any) -> dict[str, _Tensor]:
    found = {"": content} if _is_state_dict(content) else {}
    if not found and isinstance(content, dict):
        found = {name: value for name, value in content.items() if _is_state_dict(value)}
    if len(found) != 1:
        what = (
            f"{len(found)} of them ({shown([*found])})" if found else f"a {type(content).__name__}"
        )
        raise ValueError(f"expected one dictionary of named tensors, found {what}")
    (state,) = found.values()
    return {str(name): tensor for name, tensor in state.items()}


def _refuse_more_numbers_than_bytes(tensors: dict[str, _Tensor], size: int) -> None:
    # Tensors may share storages, and a stride of 0 repeats one number for ever: what follows here
    # would copy them.
    numbers = sum(math.prod(tensor.shape) for tensor in tensors.values())
    if numbers > size:
        raise ValueError(f"it claims {shown(numbers)} numbers in {size} bytes")
