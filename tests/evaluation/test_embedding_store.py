"""Embeddings on disk survive killed processes and damaged files."""

from __future__ import annotations

import logging
import os
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from vprtrain.errors import RunError
from vprtrain.evaluation import embedding_store
from vprtrain.evaluation.embedding_store import EmbeddingStore

pytestmark = pytest.mark.usefixtures("small_parts")
ABOUT = {"weights_sha256": "a", "utterances": 10}


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedding_store, "PART_SIZE", 4)


def rows(first: int, count: int) -> np.ndarray:
    return np.arange(first * 4, (first + count) * 4, dtype=np.float32).reshape(count, 4)


def keys(first: int, count: int) -> list[str]:
    return [f"wav/räksmörgås {number}" for number in range(first, first + count)]


def fill(store: EmbeddingStore, count: int) -> None:
    for first in range(len(store), count, 2):
        store.add(keys(first, 2), rows(first, 2))


def everything(store: EmbeddingStore) -> np.ndarray:
    embeddings = store.read()
    assert list(embeddings) == keys(0, len(embeddings))
    return np.stack(list(embeddings.values()))


def test_embeddings_are_read_back_in_order_and_exactly(tmp_path: Path) -> None:
    store = EmbeddingStore(tmp_path, about=ABOUT)
    fill(store, 10)
    assert len(store) == 10
    store.flush()
    np.testing.assert_array_equal(everything(store), rows(0, 10))
    again = EmbeddingStore(tmp_path, about=ABOUT)
    np.testing.assert_array_equal(everything(again), rows(0, 10))
    assert [len(part) for part, _ in again.parts()] == [4, 4, 2]
    assert not list(tmp_path.rglob(".tmp-*"))


def test_a_killed_process_loses_only_the_unwritten_part(tmp_path: Path) -> None:
    fill(EmbeddingStore(tmp_path, about=ABOUT), 10)  # never flushed
    store = EmbeddingStore(tmp_path, about=ABOUT)
    assert len(store) == 8
    fill(store, 10)
    store.flush()
    np.testing.assert_array_equal(everything(store), rows(0, 10))


@pytest.mark.parametrize("damage", ["truncated", "flipped", "emptied"])
def test_embeddings_from_a_damaged_part_on_are_computed_again(
    tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    store = EmbeddingStore(tmp_path, about=ABOUT)
    fill(store, 10)
    store.flush()
    damaged = store.folder / "000000004.npz"
    data = bytearray(damaged.read_bytes())
    data[len(data) // 2] ^= 0xFF
    damaged.write_bytes(
        {"truncated": data[: len(data) // 2], "flipped": data, "emptied": b""}[damage]
    )
    with caplog.at_level(logging.WARNING):
        again = EmbeddingStore(tmp_path, about=ABOUT)
    assert "000000004.npz is damaged" in caplog.text
    assert len(again) == 4
    fill(again, 10)
    again.flush()
    np.testing.assert_array_equal(everything(again), rows(0, 10))


def test_a_part_with_a_pickle_is_not_read(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    store = EmbeddingStore(tmp_path, about=ABOUT)
    np.savez(
        store.folder / "000000000.npz",
        keys=np.array([{"a": 1}], dtype=object),
        embeddings=rows(0, 1),
    )
    assert len(EmbeddingStore(tmp_path, about=ABOUT)) == 0
    assert "is damaged" in caplog.text


def test_a_part_that_would_fill_the_memory_is_not_read(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A compressed archive of zeros is a thousandth of what it becomes."""
    store = EmbeddingStore(tmp_path, about=ABOUT)
    zeros = np.zeros((1, 50_000_000), "float32")
    part = store.folder / "000000000.npz"
    np.savez_compressed(part, keys=np.array(["a"]), embeddings=zeros)
    del zeros
    tracemalloc.start()
    assert len(EmbeddingStore(tmp_path, about=ABOUT)) == 0
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert "it is compressed" in caplog.text and peak < 20e6
    part.unlink()
    os.mkfifo(part)
    assert len(EmbeddingStore(tmp_path, about=ABOUT)) == 0
    assert "not a file" in caplog.text


def test_embeddings_of_other_weights_are_kept_apart(tmp_path: Path) -> None:
    store = EmbeddingStore(tmp_path, about=ABOUT)
    fill(store, 4)
    other = EmbeddingStore(tmp_path, about={**ABOUT, "weights_sha256": "b"})
    assert len(other) == 0 and other.folder != store.folder
    assert len(EmbeddingStore(tmp_path, about=ABOUT)) == 4


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match=r"file.* cannot be written"):
        EmbeddingStore(tmp_path / "file", about=ABOUT)
