"""Arrays are written and read without a change; a hostile file is refused and runs no code."""

from __future__ import annotations

import builtins
import inspect
import os
import pickle
import pickletools
import subprocess
import sys
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import paddle
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from vprtrain.checkpoint.arrays import decode_arrays, encode_arrays, write_arrays
from vprtrain.errors import CheckpointError

DTYPES = st.sampled_from(["f2", "f4", "f8", "i1", "u1", "u2", "i4", "i8", "?", "c8", ">f4"])
ARRAYS = DTYPES.flatmap(
    lambda dtype: hnp.arrays(
        np.dtype(dtype), hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=5)
    )
)
LAYOUTS = st.sampled_from(
    [np.asarray, np.asfortranarray, lambda array: array[..., ::-1] if array.ndim else array]
)


def same(one: np.ndarray, other: np.ndarray) -> bool:
    return (
        one.dtype == other.dtype and one.shape == other.shape and one.tobytes() == other.tobytes()
    )


@given(
    st.dictionaries(
        st.text(), st.tuples(ARRAYS, LAYOUTS).map(lambda pair: pair[1](pair[0])), max_size=4
    )
)
def test_arrays_come_back_with_their_bits_shapes_types_and_order(
    arrays: dict[str, np.ndarray],
) -> None:
    decoded = decode_arrays(encode_arrays(arrays), "file")
    assert list(decoded) == list(arrays)
    assert all(same(decoded[name], arrays[name]) for name in arrays)


def test_the_same_arrays_are_the_same_bytes() -> None:
    def make() -> dict[str, np.ndarray]:
        shared = np.arange(3, dtype="float32")
        return {"a": shared, "b": shared, "c": np.zeros((2, 2))}

    assert encode_arrays(make()) == encode_arrays(decode_arrays(encode_arrays(make()), "file"))


def test_paddle_loads_what_is_written(tmp_path: Path) -> None:
    layer = paddle.nn.Sequential(paddle.nn.Linear(3, 4), paddle.nn.BatchNorm1D(4))
    arrays = {name: tensor.numpy() for name, tensor in layer.state_dict().items()}
    (tmp_path / "model.pdparams").write_bytes(encode_arrays(arrays))
    loaded = paddle.load(str(tmp_path / "model.pdparams"))
    assert loaded.keys() == arrays.keys()
    assert all(same(loaded[name].numpy(), array) for name, array in arrays.items())


@pytest.mark.parametrize("protocol", [3, 4])
def test_what_paddle_saves_is_read(tmp_path: Path, protocol: int) -> None:
    layer = paddle.nn.Sequential(paddle.nn.Linear(3, 4), paddle.nn.BatchNorm1D(4))
    optimizer = paddle.optimizer.Adam(parameters=layer.parameters())
    layer(paddle.ones([2, 3])).sum().backward()
    optimizer.step()
    for state in (layer.state_dict(), optimizer.state_dict()):
        paddle.save(state, str(tmp_path / "file"), protocol=protocol)
        arrays = decode_arrays((tmp_path / "file").read_bytes(), "file")
        assert arrays.keys() == state.keys() and len(arrays) >= 6
        assert all(same(arrays[name], tensor.numpy()) for name, tensor in state.items())


def test_an_old_numpys_name_for_its_module_is_read() -> None:
    data = encode_arrays({"a": np.arange(3)})
    old = data.replace(b"\x8c\x16numpy._core.multiarray", b"\x8c\x15numpy.core.multiarray")
    frame = len(old) - 11  # after the two bytes of the protocol and the nine of the frame
    old = old[:3] + frame.to_bytes(8, "little") + old[11:]
    assert b"_core" not in old and b"_core" in data
    assert decode_arrays(old, "file")["a"].tolist() == [0, 1, 2]


class Calls:
    """An object that pickles to a call and, with ``state``, to a BUILD of the call's result."""

    def __init__(self, function: Any, *arguments: Any, state: Any = None) -> None:
        self.reduced = (function, arguments) if state is None else (function, arguments, state)

    def __reduce__(self) -> tuple[Any, ...]:
        return self.reduced


TOUCH = "touch executed"
OPEN = "open('executed', 'w')"
HOSTILE = {
    "os.system": Calls(os.system, TOUCH),
    "builtins.eval": Calls(builtins.eval, OPEN),
    "builtins.exec": Calls(builtins.exec, OPEN),
    "builtins.getattr": Calls(getattr, "text", "upper"),
    "builtins.open": Calls(open, "executed", "w"),
    "subprocess.Popen": Calls(subprocess.Popen, ["touch", "executed"]),
    "numpy.save": Calls(np.save, "executed", 0),
    "numpy.fromfile": Calls(np.fromfile, "/dev/zero", "u1", 10),
    "numpy.memmap": Calls(np.memmap, "executed", "u1", "w+", 0, (10,)),
    "numpy.ndarray": Calls(np.ndarray, (1 << 40,), "u1"),
    "object array": np.array([Calls(os.system, TOUCH)], dtype=object),
    "object type": Calls(np.dtype, "O8", False, True),
    "structured type": np.zeros(2, dtype=[("a", "O"), ("b", "f4")]),
    "text type": np.array(["a"]),
    "huge type": Calls(np.dtype, "f4000000000", False, True),
    "type's state": Calls(np.dtype, "f4", False, True, state={"no": "tuple"}),
    "tensor": paddle.zeros,
    "lambda's name": Calls(pickle.loads, pickle.dumps(Calls(os.system, TOUCH))),
}


@pytest.mark.parametrize(
    "nest", [lambda x: x, lambda x: {"a": x}, lambda x: {"a": {"b": (x,)}}, lambda x: [x]]
)
@pytest.mark.parametrize("attack", HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_file_is_refused_and_executes_nothing(
    tmp_path, monkeypatch, nest, attack
) -> None:
    monkeypatch.chdir(tmp_path)
    good = {"weight": np.ones(2, "float32")}
    value = nest(attack)
    data = pickle.dumps({**good, **value} if isinstance(value, dict) else value, protocol=4)
    tracemalloc.start()
    with pytest.raises(CheckpointError, match=r"^somewhere/model\.pdparams[^\n]*$"):
        decode_arrays(data, "somewhere/model.pdparams")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert list(tmp_path.iterdir()) == [] and peak < 1 << 20


def test_the_attacks_are_real(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("os.system", "builtins.eval", "numpy.save"):
        pickle.loads(pickle.dumps({"a": HOSTILE[name]}))
        executed = list(tmp_path.glob("executed*"))
        assert executed, name
        executed[0].unlink()


def test_a_name_that_would_break_the_line_is_shown_escaped() -> None:
    data = b"\x80\x04cos\x1b[31m\nsystem\n."
    with pytest.raises(CheckpointError, match=r"asks for 'os\\x1b\[31m\.system'"):
        decode_arrays(data, "file")


def test_an_array_as_large_as_its_file_claims_is_not_allocated() -> None:
    data = encode_arrays({"a": np.zeros((3, 5), "float32")})
    assert data.count(b"K\x03K\x05\x86") == 1
    # A shape of 2^31 - 1 by 2^31 - 1.
    claims = data.replace(b"K\x03K\x05\x86", b"J\xff\xff\xff\x7fJ\xff\xff\xff\x7f\x86")
    claims = claims[:3] + (len(claims) - 11).to_bytes(8, "little") + claims[11:]
    with pytest.raises(CheckpointError, match="cannot reshape"):
        decode_arrays(claims, "file")


def test_bytes_used_a_thousand_times_are_refused_and_held_once() -> None:
    """A model of these arrays would have a thousand times the file's size."""
    shared = b"\0" * 1_000_000
    rebuild, arguments, _ = np.zeros(0).__reduce__()
    state = (1, (len(shared),), np.dtype("u1"), False, shared)
    data = pickle.dumps(
        {str(i): Calls(rebuild, *arguments, state=state) for i in range(1000)}, protocol=4
    )
    tracemalloc.start()
    with pytest.raises(CheckpointError, match="its arrays have 1000000000: expected own bytes"):
        decode_arrays(data, "file")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 10_000_000


DEEP = 100_000
BOMBS = {
    "nested tuples": b")" + b"\x85" * DEEP,
    "nested tuples as a value": b"}\x8c\x01a)" + b"\x85" * DEEP + b"s",
    "nested tuples as a name": b"})" + b"\x85" * DEEP + b"K\x01s",
    "doubled tuples as a name": b"})"
    + b"".join(b"q%ch%c\x86" % (i, i) for i in range(200))
    + b"K\x01s",
    "nested lists": b"]" * DEEP + b"a" * (DEEP - 1),
    "nested marks": b"(" * DEEP,
    "nested dictionaries": b"}\x8c\x01a" * DEEP + b"s" * (DEEP - 1),
    "a text longer than the file": b"\x8d" + (1 << 40).to_bytes(8, "little") + b"abc",
    "bytes longer than the file": b"\x8e" + (1 << 40).to_bytes(8, "little") + b"abc",
    "a number of many digits": b"\x8b" + (1 << 30).to_bytes(4, "little") + b"\xff",
    "an empty stack": b"s",
    "an unknown memory": b"h\x07",
    "a persistent object": b"\x8c\x01aQ",
    "an extension": b"\x82\x01",
}
DECODE = """
import runpy, sys
from vprtrain.errors import CheckpointError
# Without the import of Paddle, which takes seconds.
decode_arrays = runpy.run_path(sys.argv[1])["decode_arrays"]
for name in sys.argv[2:]:
    try:
        decode_arrays(open(name, "rb").read(), "file")
    except CheckpointError as error:
        assert "\\n" not in str(error) and len(str(error)) < 300
        print("refused")
"""


def test_bombs_are_refused_without_taking_the_process_down(tmp_path: Path) -> None:
    paths = []
    for number, body in enumerate(BOMBS.values()):
        paths.append(tmp_path / f"{number}")
        paths[-1].write_bytes(b"\x80\x04" + body + b".")
    command = [sys.executable, "-c", DECODE, inspect.getfile(decode_arrays), *paths]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["refused"] * len(BOMBS)


@given(st.data())
def test_a_cut_or_changed_file_gives_arrays_or_the_one_error(data: st.DataObject) -> None:
    whole = encode_arrays({"a": np.arange(6.0).reshape(2, 3), "b": np.ones((), "float16")})
    changed = bytearray(whole)
    for _ in range(data.draw(st.integers(0, 3))):
        changed[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(whole)))
    try:
        arrays = decode_arrays(bytes(changed[:cut]), "file")
    except CheckpointError as error:
        assert "\n" not in str(error)
    else:
        assert all(
            isinstance(array, np.ndarray) and array.dtype.kind in "biufc"
            for array in arrays.values()
        )


def test_a_file_of_many_arrays_uses_the_longer_instructions_and_is_read() -> None:
    arrays = {f"a{i}": np.zeros(i, "float32" if i < 390 else "int64") for i in range(400)}
    for data, expected in (
        (encode_arrays(arrays), {"BININT2", "BINBYTES"}),
        (pickle.dumps(arrays, protocol=4), {"LONG_BINGET", "BININT2", "BINBYTES"}),  # paddle.save
    ):
        assert expected <= {instruction.name for instruction, _, _ in pickletools.genops(data)}
        decoded = decode_arrays(data, "file")
        assert all(same(decoded[name], arrays[name]) for name in arrays)


def test_writing_takes_the_memory_of_one_array() -> None:
    class Nowhere:
        def write(self, data: bytes) -> int:
            return len(data)

    arrays = {f"a{i}": np.zeros(1 << 20, "uint8") for i in range(16)}
    tracemalloc.start()
    write_arrays(arrays, Nowhere())
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 4 << 20
