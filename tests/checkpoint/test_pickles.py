"""A pickle of a stranger ends: no size, number of instructions or nesting in it takes the process,
its time or its memory."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from limited import run_limited

from vprtrain.checkpoint import pickles
from vprtrain.checkpoint.arrays import decode_arrays, encode_arrays
from vprtrain.checkpoint.pickles import MOST_NESTED, read_pickle
from vprtrain.errors import CheckpointError

BEGIN = b"\x80\x04"
ENDLESS = b")\x94" + b"".join(bytes((ord("h"), i, ord("h"), i)) + b"\x86\x94" for i in range(60))
"""A tuple of twice the same tuple, 60 times: hashing, printing or comparing it takes for ever."""
DEEP = b")" + b"\x85" * 300_000
"""A tuple in a tuple in a tuple: hashing it overflows the stack of the interpreter."""
AS_MODULE, AS_NAME, AS_KEY = (b"%b\x8c\x01x\x93.", b"\x8c\x01x%b\x93.", b"}%bK\x01s.")
MANY = 30_000_000
FLOODS = ("dictionaries", "marks", "memos")
"""As many instructions as the tuples: these are for the slow tests."""

ATTACKS = {
    **{
        f"{what} tuple as {where}": BEGIN + place % tuple_
        for what, tuple_ in (("an endless", ENDLESS), ("a deep", DEEP))
        for where, place in (("a module", AS_MODULE), ("a name", AS_NAME), ("a key", AS_KEY))
    },
    "an endless tuple in a refusal": BEGIN + b"}\x8c\x01x" + ENDLESS + b"s.",
    "dictionaries": BEGIN + b"}" * MANY,
    "marks": BEGIN + b"(" * MANY,
    "memos": BEGIN + b"N" + b"\x94" * MANY,
    "tuples": BEGIN + b"N\x85" * (MANY // 2),
    "lists in lists": BEGIN + b"]" * 300_000 + b"a" * 299_999 + b".",
    "a type with millions of digits": BEGIN
    + (b"\x8c\x05numpy\x8c\x05dtype\x93X" + (5_000_000).to_bytes(4, "little"))
    + b"f".ljust(5_000_000, b"9")
    + b"\x85R.",
    "a long list of arguments, each time again": BEGIN
    + b"\x8c\x16numpy._core.multiarray\x8c\x0c_reconstruct\x93\x94](%b\x65\x94" % (b"N" * 400_000)
    + b"h\x00h\x01R" * 190_000,
    "keys of one hash": BEGIN
    + b"}("
    + b"".join(
        b"\x8a\x0c" + ((2**61 - 1) * i).to_bytes(12, "little") + b"N" for i in range(1, 50_000)
    )
    + b"u.",
}
READ = """
from pathlib import Path
from vprtrain.checkpoint.arrays import decode_arrays
from vprtrain.errors import CheckpointError
before = peak_memory()
try:
    decode_arrays(Path(sys.argv[1]).read_bytes(), "file")
except CheckpointError as error:
    print(error)
assert peak_memory() - before < 250e6, peak_memory() - before
"""


@pytest.mark.parametrize(
    "attack",
    [pytest.param(name, marks=[pytest.mark.slow] * (name in FLOODS)) for name in ATTACKS],
)
def test_an_attack_is_refused_in_one_line(tmp_path, attack: str) -> None:
    (tmp_path / "model.pdparams").write_bytes(ATTACKS[attack])
    said, _ = run_limited(READ, tmp_path / "model.pdparams")
    assert said.startswith("file ") and "\n" not in said and len(said) < 500


def test_instructions_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pickles, "MOST_INSTRUCTIONS", 1000)
    data = pickle.dumps([None] * 900, protocol=4)
    assert len(read_pickle(data, {})) == 900
    with pytest.raises(ValueError, match="more than 1000 instructions"):
        read_pickle(pickle.dumps([None] * 1000, protocol=4), {})


def test_a_checkpoint_of_thousands_of_arrays_is_far_below_the_limit() -> None:
    arrays = {f"layer_{i}.weight": np.ones((2, 2), "float32") for i in range(3000)}
    assert len(decode_arrays(encode_arrays(arrays), "file")) == 3000


def test_tuples_are_nested_a_little() -> None:
    def nested(depth: int) -> bytes:
        return BEGIN + b"N" + b"\x85" * depth + b"."

    assert isinstance(read_pickle(nested(MOST_NESTED), {}), tuple)
    with pytest.raises(ValueError, match="tuples in tuples"):
        read_pickle(nested(MOST_NESTED + 1), {})


@pytest.mark.parametrize("number", [2**31, -(2**31), 2**64])
def test_a_large_number_is_no_key(number: int) -> None:
    assert read_pickle(pickle.dumps({5: 1}, protocol=4), {}) == {5: 1}
    with pytest.raises(CheckpointError, match="the name of an entry is"):
        decode_arrays(pickle.dumps({number: 1}, protocol=4), "file")
