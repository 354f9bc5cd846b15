"""Whole recordings, each once, in batches of equal length, from any position."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import closing
from typing import NamedTuple

import numpy as np

from vprtrain.data.audio.reading import AudioError, fill
from vprtrain.data.manifest import Recording
from vprtrain.data.rank_share import RankShare
from vprtrain.data.reading import MIN_SECONDS, Reading
from vprtrain.files import sha256

log = logging.getLogger(__name__)

MAX_BATCH_SECONDS = 120.0
"""The most audio in an evaluation batch, unless a single utterance is longer"""

BLOCK = 16
"""Consecutive utterances that one rank reads. No batch crosses a block's border, so the batches,
and the embeddings to their last bit, do not depend on the world size."""


class EvaluationBatch(NamedTuple):
    """Whole utterances of one length."""

    keys: tuple[str, ...]
    """The utterances' ids in the trials or the enrolment"""
    waveforms: np.ndarray
    """float32 ``[len(keys), samples]``, never padded. ``samples`` is 0 for recordings that cannot
    be read; only a lenient :class:`WholeUtterances` gives such batches."""


class WholeUtterances:
    """Recordings by id, read whole; one shorter than half a second is repeated.

    Args:
        recordings: by utterance id.
        reading: how they are read.
        share: the blocks of utterances that this rank reads: every ``world_size``-th.
        max_seconds: read only this much from the beginning of a recording; ``None`` reads all.
        lenient: give a recording that cannot be read as one without samples, and log the reason;
            otherwise :class:`AudioError` is raised.
    """

    def __init__(
        self,
        recordings: Mapping[str, Recording],
        *,
        reading: Reading = Reading(),
        share: RankShare = RankShare(),
        max_seconds: float | None = None,
        lenient: bool = False,
    ) -> None:
        self._recordings = recordings
        self._reading = reading
        self._share = share
        self._max_seconds = max_seconds
        self._lenient = lenient
        # By duration, so that utterances of one length are neighbours; by id where durations are
        # equal, so that the order is always the same.
        self.keys = sorted(recordings, key=lambda key: (recordings[key].duration or 0.0, key))

    def __len__(self) -> int:
        return len(self.keys)

    def batches(self, start: int = 0, end: int | None = None) -> Iterator[EvaluationBatch]:
        """This rank's batches of ``keys[start:end]``; nothing else is decoded.

        If ``start`` is the end of a batch, these are the batches that would have followed it.
        """
        limit = MAX_BATCH_SECONDS * self._reading.sample_rate
        blocks = {key: place // BLOCK for place, key in enumerate(self.keys)}
        keys = [key for key in self.keys[start:end] if self._share.owns(blocks[key])]
        waveforms = self._reading.load(
            self._read,
            keys,
            prefetch=4 * self._reading.workers,
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
        """JSON values that the embeddings depend on: the utterances, their order, their reading.

        A file that was written again counts as another utterance.
        """
        found = ((key, self._recordings[key]) for key in self.keys)
        rows = [(key, each.path, each.duration, *_size_and_time(each.path)) for key, each in found]
        return {
            "utterances": len(rows),
            "utterances_sha256": sha256(json.dumps(rows).encode()),
            "sample_rate": self._reading.sample_rate,
            "channel": self._reading.channel,
            "max_seconds": self._max_seconds,
        }

    def _read(self, key: str) -> np.ndarray:
        try:
            waveform = self._reading.read(self._recordings[key].path, duration=self._max_seconds)
        except AudioError as error:
            if not self._lenient:
                raise
            log.warning("%s; left out", error)
            return np.zeros(0, np.float32)
        return fill(waveform, round(MIN_SECONDS * self._reading.sample_rate))


def _size_and_time(path: str) -> tuple[int, int]:
    try:
        status = os.stat(path)
    except OSError:  # reading the file reports the reason
        return 0, 0
    return status.st_size, status.st_mtime_ns


def _evaluation_batch(utterances: list[tuple[str, np.ndarray]]) -> EvaluationBatch:
    keys, waveforms = zip(*utterances, strict=True)
    return EvaluationBatch(keys, np.stack(waveforms))
