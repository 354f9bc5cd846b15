"""What waits together is one batch, and nobody gets another one's embedding."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from vprtrain.serving.batching import BatchingExtractor

RATE = 100


class Slow:
    """An extractor that waits to be released; the embedding of a waveform is its sum."""

    state = None
    sample_rate, min_samples, embedding_dim, digest = RATE, 1, 1, "slow"
    runtime, threads = "numpy", 1

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.entered, self.released = threading.Semaphore(0), threading.Event()

    def embed(self, waveforms: Sequence[np.ndarray]) -> np.ndarray:
        self.batches.append([len(each) for each in waveforms])
        self.entered.release()
        self.released.wait(60)
        if any(np.isnan(each).any() for each in waveforms):
            raise ValueError("a bad waveform")
        return np.array([[each.sum()] for each in waveforms], np.float32)


def ones(length: int) -> np.ndarray:
    return np.ones(length, np.float32)


def test_what_comes_during_a_batch_is_the_next_one() -> None:
    slow, sizes = Slow(), []
    batching = BatchingExtractor(slow, max_seconds=10, on_batch=sizes.append)
    with ThreadPoolExecutor(8) as pool:
        first = pool.submit(batching.embed, [ones(7)])
        slow.entered.acquire()
        others = [pool.submit(batching.embed, [ones(length)]) for length in (100, 90, 80, 10)]
        while len(batching._waiting) < 4:
            threading.Event().wait(0.005)
        slow.released.set()
        assert first.result()[0] == 7
        assert sorted(int(each.result()[0, 0]) for each in others) == [10, 80, 90, 100]
    assert slow.batches[0] == [7] and sorted(map(len, slow.batches[1:])) == [1, 3]
    assert sorted(sizes) == [1, 1, 3]
    batching.close()
    with pytest.raises(RuntimeError, match="closed"):
        batching.embed([ones(1)])


def test_a_batch_has_a_most() -> None:
    slow = Slow()
    batching = BatchingExtractor(slow, max_seconds=2)
    slow.released.set()
    found = batching.embed([ones(100), ones(100), ones(100), ones(500)])
    assert found[:, 0].tolist() == [100, 100, 100, 500]
    assert all(len(batch) == 1 or sum(batch) <= 2 * RATE for batch in slow.batches)
    batching.close()


def test_others_come_between_the_batches_of_one_with_many() -> None:
    slow = Slow()
    batching = BatchingExtractor(slow, max_seconds=2)
    with ThreadPoolExecutor(2) as pool:
        many = pool.submit(batching.embed, [ones(100) for _ in range(8)])
        slow.entered.acquire()
        one = pool.submit(batching.embed, [ones(50)])
        while not batching._waiting:
            threading.Event().wait(0.005)
        slow.released.set()
        assert one.result()[0] == 50 and many.result()[:, 0].tolist() == [100] * 8
    assert slow.batches[:2] == [[100, 100], [50]]
    batching.close()


def test_an_error_goes_to_those_of_the_batch_and_no_further() -> None:
    slow = Slow()
    slow.released.set()
    batching = BatchingExtractor(slow)
    with pytest.raises(ValueError, match="a bad waveform"):
        batching.embed([np.full(5, np.nan, np.float32)])
    assert batching.embed([ones(3)])[0] == 3
    batching.close()


class Together(Slow):
    """An extractor that two threads may call at once, and that waits for both."""

    threads = 2

    def __init__(self) -> None:
        super().__init__()
        self.meeting = threading.Barrier(2)

    def embed(self, waveforms: Sequence[np.ndarray]) -> np.ndarray:
        self.meeting.wait(60)
        return super().embed(waveforms)


def test_where_threads_get_further_than_one_each_waveform_is_computed_alone() -> None:
    together = Together()
    together.released.set()
    batching = BatchingExtractor(together, threads=4, max_seconds=10)
    assert batching.threads == 2
    found = batching.embed([ones(length) for length in (5, 6, 7, 8)])
    assert found[:, 0].tolist() == [5, 6, 7, 8]
    assert sorted(together.batches) == [[5], [6], [7], [8]]
    batching.close()
