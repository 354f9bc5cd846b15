"""Files of torch.save are read without PyTorch; hostile and torn files are refused without any
effect."""

from __future__ import annotations

import io
import os
import pickle
import time
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from torch_files import STORAGES, Saved, legacy_file, legacy_of, saved, zip_file, zip_of

from vprtrain.checkpoint.arrays import Arrays
from vprtrain.conversion.torch_file import read_torch_tensors
from vprtrain.errors import CheckpointError, UsageError

Format = Callable[[dict[str, Saved]], bytes]
FORMATS = {"zip": zip_file, "legacy": legacy_file}
FILES = {"zip": zip_of, "legacy": legacy_of}

both_formats = pytest.mark.parametrize("write", FORMATS.values(), ids=FORMATS)


@pytest.fixture
def read(tmp_path) -> Callable[[bytes], Arrays]:
    def read_bytes(data: bytes) -> Arrays:
        (tmp_path / "model.pt").write_bytes(data)
        return read_torch_tensors(tmp_path / "model.pt")

    return read_bytes


@pytest.fixture
def refusal(read, tmp_path) -> Callable[[bytes], str]:
    def refused(data: bytes) -> str:
        with pytest.raises(CheckpointError) as raised:
            read(data)
        said = str(raised.value)
        assert (
            said.startswith(f"{tmp_path / 'model.pt'} is not a whole file of PyTorch tensors")
            and "\n" not in said
        )
        return said

    return refused


@pytest.mark.parametrize("name", ["torch_zip.pt", "torch_legacy.pt"])
def test_files_of_pytorch_itself_are_read(name: str) -> None:
    """The files are by torch.save of PyTorch 2.13, with and without
    ``_use_new_zipfile_serialization=False``."""
    tensors = read_torch_tensors(Path(__file__).parent / name)
    layer = [
        "0.weight",
        "0.bias",
        *(f"1.{part}" for part in ("weight", "bias", "running_mean", "running_var")),
    ]
    assert list(tensors)[:7] == [*layer, "1.num_batches_tracked"]
    np.testing.assert_array_equal(
        tensors["0.bias"][:2], np.float32([-0.55157071352005, -0.3823687434196472])
    )
    assert tensors["0.weight"].shape == (4, 3) and tensors["1.num_batches_tracked"].shape == ()
    for entry, expected in {
        "t": np.float32([[0, 3], [1, 4], [2, 5]]),  # a transposed view
        "off": np.int64([3, 5]),  # a strided view with an offset
        "half": np.float16([1.5, -2.25]),
        "bf": np.float32([1.5, -2.25, 3.00405527047391e38]),
        "bool": np.array([True, False]),
        "c": np.complex64([1 + 2j]),
        "i8": np.int8([-3]),
        "p": np.float32([1, 1]),  # a Parameter
        "e": np.zeros((0, 3), "float32"),
        "scalar": np.float64(3.5),
    }.items():
        assert tensors[entry].dtype == expected.dtype
        np.testing.assert_array_equal(tensors[entry], expected)


ARRAYS = st.sampled_from(list(STORAGES)).flatmap(
    lambda kind: hnp.arrays(
        np.dtype(kind), hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4)
    )
)


@both_formats
@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    arrays=st.dictionaries(st.text(st.characters(codec="utf-8")), ARRAYS, min_size=1, max_size=4)
)
def test_tensors_come_back_with_their_bits_shapes_and_types(read, write: Format, arrays) -> None:
    tensors = read(write({name: saved(array) for name, array in arrays.items()}))
    assert list(tensors) == list(arrays)
    for name, array in arrays.items():
        assert (tensors[name].dtype, tensors[name].shape) == (array.dtype, array.shape)
        assert tensors[name].tobytes() == array.tobytes()


@both_formats
def test_views_share_their_storage(read, write: Format) -> None:
    numbers = np.arange(12, dtype="float32")
    tensors = read(
        write(
            {"all": Saved(numbers, (3, 4), (4, 1)), "column": Saved(numbers, (3,), (4,), offset=1)}
        )
    )
    assert tensors["column"].tolist() == [1, 5, 9]
    assert np.shares_memory(tensors["all"], tensors["column"])
    with pytest.raises(ValueError, match="read-only"):
        tensors["column"][0] = 7


@both_formats
@given(st.lists(st.floats(width=32, allow_nan=False), min_size=1, max_size=5))
@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_bfloat16_is_the_upper_half_of_float32(read, write: Format, values: list[float]) -> None:
    upper = (np.float32(values).view("u4") >> 16).astype("u2")
    tensors = read(write({"a": Saved(upper, (len(values),), (1,), storage="BFloat16")}))
    assert tensors["a"].dtype == np.float32
    np.testing.assert_array_equal(tensors["a"].view("u4"), upper.astype("u4") << 16)


def test_the_state_dict_among_other_entries_is_taken(read) -> None:
    numbers = np.arange(3, dtype="float32")
    inner = zip_file({"a": Saved(numbers, (3,), (1,))})
    with zipfile.ZipFile(io.BytesIO(inner)) as archive:
        state = archive.read("archive/data.pkl")[2:-1]
    other = pickle.dumps(
        {"epoch": 3, "lr": 0.1, "groups": [{"betas": (0.9, 0.99), "params": [0, 1]}, None]},
        protocol=2,
    )
    outer = other[:-1] + b"(X\x05\x00\x00\x00model" + state + b"u."
    assert read(zip_of(outer, [numbers]))["a"].tolist() == [0, 1, 2]


class Call:
    """An object whose pickle is a function call."""

    def __init__(self, function: object, *arguments: object) -> None:
        self.reduced = (function, arguments)

    def __reduce__(self) -> tuple[object, ...]:
        return self.reduced


HOSTILE = {
    "a command": Call(os.system, "touch executed"),
    "code": Call(eval, "open('executed', 'w')"),
    "inside of a state dict": {"weight": Call(os.system, "touch executed")},
    "in a list": [Call(exec, "open('executed', 'w')")],
    "a dictionary made of what the file says": Call(dict, [("a", 1)]),
    "an object": Path("executed"),
}


@pytest.mark.parametrize("attack", HOSTILE.values(), ids=HOSTILE)
@pytest.mark.parametrize("file", FILES.values(), ids=FILES)
def test_a_hostile_file_is_refused_and_executes_nothing(
    refusal, tmp_path, monkeypatch, file, attack
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    for protocol in (2, 4):
        assert "never needs" in refusal(file(pickle.dumps(attack, protocol=protocol), []))
    assert list(Path.cwd().iterdir()) == []


@both_formats
@pytest.mark.parametrize(
    ("tensor", "said"),
    [
        (Saved(np.zeros(6, "f4"), (2, 4), (4, 1)), "reaches behind the end"),
        (Saved(np.zeros(6, "f4"), (6,), (1,), offset=1), "reaches behind the end"),
        (Saved(np.zeros(6, "f4"), (2,), (-1,), offset=3), "whole numbers from 0"),
        (Saved(np.zeros(6, "f4"), (2, 3), (1,)), "not as many strides"),
        (Saved(np.zeros(6, "f4"), (10**6, 10**6), (0, 0)), "claims 1000000000000 numbers"),
        (Saved(np.zeros(1, "u2"), (10**9,), (0,), storage="BFloat16"), "claims 1000000000 numbers"),
        (Saved(np.zeros(6, "f4"), (6,), (1,), claimed=2**40), "expected 1099511627776"),
        (Saved(np.zeros(6, "f4"), (6,), (1,), storage="Quantized"), "never needs"),
    ],
)
def test_what_a_file_claims_is_neither_believed_nor_allocated(
    refusal, write: Format, tensor: Saved, said: str
) -> None:
    data = write({"a": tensor})
    tracemalloc.start()
    assert said in refusal(data)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1 << 20


def test_archives_of_another_kind_are_refused(refusal) -> None:
    weights = {"a": saved(np.zeros(100_000, "f4"))}
    assert "it is compressed" in refusal(zip_file(weights, compression=zipfile.ZIP_DEFLATED))
    assert "dictionary of named tensors, found a list" in refusal(
        zip_of(pickle.dumps([1], protocol=2), [])
    )
    two = {"a": {}, "b": {}}
    assert "dictionary of named tensors, found a dict" in refusal(
        zip_of(pickle.dumps(two, protocol=2), [])
    )
    for other in (b"", b"text", b"PK\x03\x04", np.arange(9).tobytes()):
        refusal(other)


def test_parts_that_overlap_are_refused(refusal) -> None:
    """A file of one megabyte that claims a gigabyte."""
    data = bytearray(zip_file({f"{i}": saved(np.full(64, i, "f4")) for i in range(1, 50)}))
    entry = data.index(b"PK\x01\x02")
    while entry >= 0:  # every directory entry claims the length of the file
        data[entry + 20 : entry + 28] = (len(data) - 200).to_bytes(4, "little") * 2
        entry = data.find(b"PK\x01\x02", entry + 4)
    assert "together are longer than itself" in refusal(bytes(data))


@both_formats
@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_cut_or_changed_file_gives_tensors_or_the_one_error(
    read, write: Format, data: st.DataObject
) -> None:
    whole = write({"a": saved(np.arange(6.0).reshape(2, 3)), "b": saved(np.ones((), "float16"))})
    changed = bytearray(whole)
    for _ in range(data.draw(st.integers(0, 3))):
        changed[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(whole)))
    try:
        tensors = read(bytes(changed[:cut]))
    except CheckpointError as error:
        assert "\n" not in str(error)
    else:
        assert all(
            isinstance(tensor, np.ndarray) and tensor.dtype.kind in "biufc"
            for tensor in tensors.values()
        )


@both_formats
def test_every_cut_is_noticed(refusal, write: Format) -> None:
    whole = write({"a": saved(np.arange(40.0, dtype="f4"))})
    for cut in range(0, len(whole), 7):
        refusal(whole[:cut])


def test_a_flipped_bit_of_the_numbers_is_noticed(refusal) -> None:
    numbers = np.arange(40.0, dtype="f4")
    whole = zip_file({"a": saved(numbers)})
    at = whole.index(numbers.tobytes()) + 33
    assert "CRC" in refusal(whole[:at] + bytes([whole[at] ^ 4]) + whole[at + 1 :])


def test_what_is_not_a_file_is_the_users_mistake(tmp_path) -> None:
    for path in (tmp_path, tmp_path / "missing.pt"):
        with pytest.raises(UsageError, match=r"is not a file: give the one that torch.save wrote"):
            read_torch_tensors(path)


def numbers_of(*numbers: int) -> bytes:
    """The pickle of a tuple of whole numbers of up to 255 bytes."""
    parts = (number.to_bytes(255, "little", signed=True) for number in numbers)
    return b"(" + b"".join(b"\x8a\xff" + part for part in parts) + b"t"


@pytest.mark.parametrize("file", FILES.values(), ids=FILES)
@pytest.mark.parametrize(
    ("shape", "said"),
    [
        ([2**2000] * 8, "must be whole numbers"),
        ([2**2000] * 5000, "has 5000 axes"),
        ([1] * 5000, "has 5000 axes"),
    ],
)
def test_shapes_of_big_numbers_are_refused_soon(refusal, file, shape: list[int], said: str) -> None:
    """Their product was computed: a file of 4.6 kB took 15 seconds."""
    numbers = np.zeros(6, "f4")
    tensor = zip_file({"a": Saved(numbers, (6,), (1,))})
    with zipfile.ZipFile(io.BytesIO(tensor)) as archive:
        content = archive.read("archive/data.pkl")
    one = b"(\x8a\x09" + (6).to_bytes(9, "little") + b"t"
    stride = one.replace(b"\x06", b"\x01")
    assert content.count(one + stride) == 1
    big = numbers_of(*shape) + numbers_of(*[1] * len(shape))
    started = time.process_time()
    assert said in refusal(file(content.replace(one + stride, big), [numbers]))
    assert time.process_time() - started < 5


def test_a_key_of_a_storage_is_a_text(refusal) -> None:
    """A tuple of the same tuples would be hashed for ever."""
    weights = legacy_file({"a": saved(np.zeros(3, "f4"))})
    keys = weights.rindex(b"\x80\x02]")
    endless = b")q\x00" + b"".join(
        bytes((104, i, 104, i)) + b"\x86q" + bytes([i + 1]) for i in range(18)
    )
    assert "key is a tuple, expected a text" in refusal(
        weights[:keys] + b"\x80\x02](" + endless + b"e."
    )


def test_a_long_identity_of_a_storage_is_refused(refusal) -> None:
    """It would be looked at again for every reference: 300,000 times a second of work."""
    storage = (
        b"(X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000X\x01\x00\x00\x000K\x03"
    )
    identity = b"\x80\x02" + storage + b"N" * 300_000 + b"tq\x00"
    assert "expected a tuple of at most" in refusal(zip_of(identity + b"h\x00Q" * 300_000, []))


def test_a_long_directory_is_not_read(refusal) -> None:
    """zipfile makes an object of a kilobyte from each 47 bytes."""
    entry = b"PK\x01\x02" + bytes(24) + (1).to_bytes(2, "little") + bytes(16) + b"a"
    count = 100_000
    directory = entry * count
    end = b"PK\x05\x06" + bytes(8) + len(directory).to_bytes(4, "little") + bytes(6)
    wide = b"PK\x06\x06" + bytes(36) + len(directory).to_bytes(8, "little") + bytes(8)
    locator = b"PK\x06\x07" + bytes(16)
    small = b"PK\x05\x06" + bytes(8) + b"\xff" * 4 + bytes(6)
    for data, said in (
        (directory + end, "its directory has"),
        (directory + wide + locator + small, "its directory has"),
        (directory + wide + b"more" + locator + small, "is not at the end"),
    ):
        started = time.process_time()
        assert said in refusal(data)
        assert time.process_time() - started < 1
    assert "is not at the end" in refusal(zip_file({"a": saved(np.zeros(3, "f4"))}) + b"more")
