"""What SQLite joins for the search in memory is what its rows hold."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from vprtrain.errors import RunError
from vprtrain.voiceprints import sqlite_store
from vprtrain.voiceprints.database import Voiceprints
from vprtrain.voiceprints.user import MAX_NAME

MODEL = "ab" * 32


def embedding(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(16).astype("float32")


@pytest.mark.parametrize("rows", [1, 3, 1000])
@pytest.mark.parametrize("name", ["user {}", "声纹 {}, 名", "{}" + "𝄞" * (MAX_NAME - 3)])
def test_blocks_hold_what_rows_hold(
    rows: int, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With blocks of removed users, and with names too long to be joined."""
    monkeypatch.setattr(sqlite_store, "_BLOCK_BYTES", rows * 24)
    monkeypatch.setattr("vprtrain.voiceprints.sqlite_file._MOST_VALUE_BYTES", 5000)
    with closing(Voiceprints(tmp_path / "v.db", model=MODEL)) as voiceprints:
        for number in range(20):
            voiceprints.add(name.format(number), embedding(number))
        for number in (0, 3, 4, 5, 19):
            voiceprints.remove(name.format(number))
        with voiceprints._transaction():
            expected = [row for rows in voiceprints._store.codes() for row in rows]
            found = []
            for ids, names, codes in voiceprints._store.code_blocks():
                if isinstance(codes, bytes):
                    codes = [codes[start : start + 24] for start in range(0, len(codes), 24)]
                found += zip(map(int, ids), names, codes, strict=True)
        assert sorted(found) == expected and len(found) == 15
        assert voiceprints.nearest(embedding(7))[0] == name.format(7)


def test_codes_of_two_lengths_are_not_joined(tmp_path: Path) -> None:
    """Not even where their bytes together are as many as those of equal ones."""
    with closing(Voiceprints(tmp_path / "v.db", model=MODEL)) as voiceprints:
        for number in range(4):
            voiceprints.add(f"user {number}", embedding(number))
        voiceprints._store._db.execute("UPDATE users SET code = zeroblob(23) WHERE id = 2")
        voiceprints._store._db.execute("UPDATE users SET code = zeroblob(25) WHERE id = 3")
        with pytest.raises(RunError, match=r"the code of 'user 1' is .*, expected 16 values"):
            voiceprints.nearest(embedding(0))
