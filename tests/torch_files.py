"""Files in the formats of ``torch.save``, written without PyTorch."""

from __future__ import annotations

import io
import pickle
import struct
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

STORAGES = {
    **{
        "f2": "Half",
        "f4": "Float",
        "f8": "Double",
        "c8": "ComplexFloat",
        "c16": "ComplexDouble",
        "b1": "Bool",
    },
    **{"u1": "Byte", "i1": "Char", "i2": "Short", "i4": "Int", "i8": "Long"},
}
MAGIC = 0x1950A86A20F9469CFC6C


@dataclass(frozen=True)
class Saved:
    """A tensor as a file stores it: a view of a storage."""

    numbers: np.ndarray
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    offset: int = 0
    storage: str = "Float"
    claimed: int | None = None
    """The length that the file gives for the storage, if it is a lie."""


def saved(array: np.ndarray) -> Saved:
    """An array in its own storage."""
    array = np.asarray(array, order="C")
    strides = tuple(stride // array.itemsize for stride in array.strides)
    return Saved(array.reshape(-1), array.shape, strides, storage=STORAGES[array.dtype.str[1:]])


def zip_file(tensors: Mapping[str, Saved], *, compression: int = zipfile.ZIP_STORED) -> bytes:
    """A file as torch.save writes it since PyTorch 1.6."""
    return zip_of(state_dict(tensors), [tensor.numbers for tensor in tensors.values()], compression)


def zip_of(
    content: bytes, storages: list[np.ndarray], compression: int = zipfile.ZIP_STORED
) -> bytes:
    """The same of any pickle."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as archive:
        archive.writestr("archive/data.pkl", content)
        archive.writestr("archive/byteorder", "little")
        for key, numbers in storages_by_key(storages).items():
            archive.writestr(f"archive/data/{key}", numbers.tobytes())
        archive.writestr("archive/version", "3\n")
    return file.getvalue()


def legacy_file(tensors: Mapping[str, Saved]) -> bytes:
    """A file as torch.save wrote it before."""
    return legacy_of(
        state_dict(tensors, view=b"N"), [tensor.numbers for tensor in tensors.values()]
    )


def legacy_of(content: bytes, storages: list[np.ndarray]) -> bytes:
    """The same of any pickle."""
    by_key = storages_by_key(storages)
    system = {
        "protocol_version": 1001,
        "little_endian": True,
        "type_sizes": {"short": 2, "int": 4, "long": 4},
    }
    parts = [pickle.dumps(value, protocol=2) for value in (MAGIC, 1001, system)]
    parts += [content, pickle.dumps(list(by_key), protocol=2)]
    parts += [struct.pack("<q", numbers.size) + numbers.tobytes() for numbers in by_key.values()]
    return b"".join(parts)


def storages_by_key(storages: list[np.ndarray]) -> dict[str, np.ndarray]:
    return {str(id(numbers)): numbers for numbers in storages}


def state_dict(tensors: Mapping[str, Saved], *, view: bytes = b"") -> bytes:
    """The pickle of an ordered dictionary of tensors; ``view`` is the end of a storage's
    identity."""
    body = b"ccollections\nOrderedDict\n)R("
    for name, tensor in tensors.items():
        size = tensor.numbers.size if tensor.claimed is None else tensor.claimed
        identity = b"(" + _text("storage") + f"ctorch\n{tensor.storage}Storage\n".encode()
        identity += _text(str(id(tensor.numbers))) + _text("cpu") + _number(size) + view + b"tQ"
        arguments = (
            identity + _number(tensor.offset) + _numbers(tensor.shape) + _numbers(tensor.strides)
        )
        body += (
            _text(name)
            + b"ctorch._utils\n_rebuild_tensor_v2\n("
            + arguments
            + b"\x89ccollections\nOrderedDict\n)RtR"
        )
    # The attribute with the versions of the layers.
    return b"\x80\x02" + body + b"u}" + _text("_metadata") + b"}" + _text("") + b"}ssb."


def _text(text: str) -> bytes:
    return b"X" + struct.pack("<I", len(text.encode())) + text.encode()


def _number(number: int) -> bytes:
    data = number.to_bytes(9, "little", signed=True)
    return b"\x8a" + bytes([len(data)]) + data


def _numbers(numbers: tuple[int, ...]) -> bytes:
    return b"(" + b"".join(map(_number, numbers)) + b"t"
