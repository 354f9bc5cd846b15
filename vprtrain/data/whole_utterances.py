"""Recordings as a whole, each once, in batches of one length, from any place on."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import closing
from typing import NamedTuple

import numpy as np

from vprtrain.data.audio.reading import AudioError, fill, read_audio
from vprtrain.data.dataset import MIN_SECONDS
from vprtrain.data.loader import WORKER_TIMEOUT, load_in_order
from vprtrain.data.manifest import Recording
from vprtrain.files import sha256

log = logging.getLogger(__name__)

MAX_BATCH_SECONDS = 120.0
"""Of sound in an evaluation batch, unless a single utterance is longer"""

BLOCK = 16
"""Utterances that follow each other and are read by one process; no batch reaches beyond them. So
the batches, and the embeddings to their last bit, are the same however many processes share the
blocks out."""


class EvaluationBatch(NamedTuple):
    """Whole utterances of one length."""

    keys: tuple[str, ...]
    """The utterances' ids in the trials or the enrolment"""
    waveforms: np.ndarray
    """float32 ``[len(keys), samples]``: nothing is ever padded to another's length; no samples
    where the recordings cannot be read, which only lenient :class:`WholeUtterances` hand on"""


class WholeUtterances:
    """Recordings by id, read whole (repeated if below half a second).

    Args:
        recordings: by utterance id.
        sample_rate: in Hz, to which all recordings are resampled.
        channel: which is read of a recording with several, counted from 0.
        max_seconds: only the beginning of a longer recording is read; ``None`` reads all of it.
        workers: threads that read; 0 reads in the calling thread.
        worker_timeout: the longest that a recording may take to load, in seconds (not with 0
            workers).
        rank: which of the processes this is: it reads every ``world_size``-th block of the
            recordings.
        world_size: how many processes there are.
        lenient: hand on a recording that cannot be read, without samples, and log why; else
            :class:`AudioError`.
    """

    def __init__(
        self,
        recordings: Mapping[str, Recording],
        *,
        sample_rate: int = 16000,
        channel: int = 0,
        max_seconds: float | None = None,
        workers: int = 2,
        worker_timeout: float = WORKER_TIMEOUT,
        rank: int = 0,
        world_size: int = 1,
        lenient: bool = False,
    ) -> None:
        self._recordings = recordings
        self._sample_rate = sample_rate
        self._channel = channel
        self._max_seconds = max_seconds
        self._workers = workers
        self._worker_timeout = worker_timeout
        self._rank = rank
        self._world_size = world_size
        self._lenient = lenient
        # By duration, so that equally long ones follow each other; then, and always the same, by
        # id.
        self.keys = sorted(recordings, key=lambda key: (recordings[key].duration or 0.0, key))

    def __len__(self) -> int:
        return len(self.keys)

    def batches(self, start: int = 0, end: int | None = None) -> Iterator[EvaluationBatch]:
        """This process's batches of ``keys[start:end]``; nothing else is decoded.

        Where ``start`` is the end of a batch, they are the ones that would have followed it.
        """
        limit = MAX_BATCH_SECONDS * self._sample_rate
        blocks = {key: place // BLOCK for place, key in enumerate(self.keys)}
        keys = [key for key in self.keys[start:end] if blocks[key] % self._world_size == self._rank]
        waveforms = load_in_order(
            self._read,
            keys,
            workers=self._workers,
            prefetch=4 * self._workers,
            timeout=self._worker_timeout,
            describe=lambda key: self._recordings[key].path,
        )
        with closing(waveforms):
            batch: list[tuple[str, np.ndarray]] = []
            for key, waveform in zip(keys, waveforms, strict=True):
                full = (len(batch) + 1) * len(waveform) > limit
                if batch and (
                    full or len(waveform) != len(batch[0][1]) or blocks[key] != blocks[batch[0][0]]
                ):
                    yield _evaluation_batch(batch)
                    batch = []
                batch.append((key, waveform))
            if batch:
                yield _evaluation_batch(batch)

    def fingerprint(self) -> dict[str, object]:
        """JSON values on which embeddings hang: which utterances, in which order, and how they are
        read.

        A file that was written since is another utterance.
        """
        found = ((key, self._recordings[key]) for key in self.keys)
        rows = [(key, each.path, each.duration, *_size_and_time(each.path)) for key, each in found]
        return {
            "utterances": len(rows),
            "utterances_sha256": sha256(json.dumps(rows).encode()),
            "sample_rate": self._sample_rate,
            "channel": self._channel,
            "max_seconds": self._max_seconds,
        }

    def _read(self, key: str) -> np.ndarray:
        try:
            waveform = read_audio(
                self._recordings[key].path,
                sample_rate=self._sample_rate,
                channel=self._channel,
                duration=self._max_seconds,
            )
        except AudioError as error:
            if not self._lenient:
                raise
            log.warning("%s; left out", error)
            return np.zeros(0, np.float32)
        return fill(waveform, round(MIN_SECONDS * self._sample_rate))


def _size_and_time(path: str) -> tuple[int, int]:
    try:
        status = os.stat(path)
    except OSError:  # what is wrong with it is said when it is read
        return 0, 0
    return status.st_size, status.st_mtime_ns


def _evaluation_batch(utterances: list[tuple[str, np.ndarray]]) -> EvaluationBatch:
    keys, waveforms = zip(*utterances, strict=True)
    return EvaluationBatch(keys, np.stack(waveforms))
