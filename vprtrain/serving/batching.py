"""Waveforms of many requests on their way through one model."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:  # importing the module imports Paddle
    from vprtrain.extractors.extractor import Extractor

_MOST_PADDING = 0.2
"""Of a batch; a longer waveform waits for the next one."""


class _Waiting(NamedTuple):
    waveform: np.ndarray
    result: Future[np.ndarray]


class BatchingExtractor:
    """An extractor for many threads. If it computes one thing at a time, what they ask for
    meanwhile is the next batch; if several threads get further with it than one, each waveform is
    computed alone, in one of as many threads.

    Nobody waits for a batch to fill: a request that comes alone is computed at once. Of a thread
    with many waveforms only as many wait at once as are one batch, so that others come in between.

    Args:
        extractor: what computes the embeddings, in threads of this object.
        threads: the most threads.
        max_seconds: the most audio in a batch, padding included.
        on_batch: called with the number of waveforms of each batch.
    """

    def __init__(
        self,
        extractor: Extractor,
        *,
        threads: int = 1,
        max_seconds: float = 15.0,
        on_batch: Callable[[int], None] = lambda size: None,
    ) -> None:
        self.state = extractor.state
        self.sample_rate = extractor.sample_rate
        self.min_samples = extractor.min_samples
        self.embedding_dim = extractor.embedding_dim
        self.runtime = extractor.runtime
        self.threads = min(threads, extractor.threads)
        self.digest = extractor.digest
        self._extractor, self._on_batch = extractor, on_batch
        self._most = max_seconds * extractor.sample_rate
        self._waiting: deque[_Waiting] = deque()
        self._changed = threading.Condition()
        self._closed = False
        self._workers = [
            threading.Thread(target=self._work, name=f"embedding-{number}", daemon=True)
            for number in range(self.threads)
        ]
        for thread in self._workers:
            thread.start()

    def embed(self, waveforms: Sequence[np.ndarray]) -> np.ndarray:
        """Embeddings, as of the extractor; other threads' waveforms change their rounding only.

        Raises:
            RuntimeError: the object is closed.
        """
        return np.concatenate([self._embed(some) for some in self._portions(waveforms)])

    def _portions(self, waveforms: Sequence[np.ndarray]) -> Iterator[list[np.ndarray]]:
        """The waveforms in order, in lists that are a batch each."""
        portion: list[np.ndarray] = []
        for waveform in waveforms:
            if portion and sum(map(len, portion)) + len(waveform) > self._most:
                yield portion
                portion = []
            portion.append(waveform)
        yield portion

    def _embed(self, waveforms: list[np.ndarray]) -> np.ndarray:
        asked = [_Waiting(waveform, Future()) for waveform in waveforms]
        with self._changed:
            if self._closed:
                raise RuntimeError("the extractor is closed")
            self._waiting.extend(asked)
            self._changed.notify(len(asked))
        return np.stack([each.result.result() for each in asked])

    def close(self) -> None:
        """End the threads, after what is waiting."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        for thread in self._workers:
            thread.join()

    def _work(self) -> None:
        while batch := self._next_batch():
            try:
                found = self._extractor.embed([each.waveform for each in batch])
            except Exception as error:
                for each in batch:
                    each.result.set_exception(error)
            else:
                self._on_batch(len(batch))
                for each, embedding in zip(batch, found, strict=True):
                    each.result.set_result(embedding)

    def _next_batch(self) -> list[_Waiting]:
        """What waits, the oldest first, as far as it fits together; nothing at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._closed)
            if self.threads > 1 and self._waiting:
                return [self._waiting.popleft()]
            batch: list[_Waiting] = []
            longest = total = 0
            for _ in range(len(self._waiting)):
                each = self._waiting.popleft()
                length = max(longest, len(each.waveform))
                padded = length * (len(batch) + 1)
                net = total + len(each.waveform)
                if batch and (padded > self._most or net < padded * (1 - _MOST_PADDING)):
                    self._waiting.append(each)
                    continue
                batch.append(each)
                longest, total = length, net
            return batch
