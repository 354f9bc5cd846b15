"""The order of the training utterances, as a function of the seed and the epoch."""

from __future__ import annotations

from collections.abc import Iterator
from enum import IntEnum

import numpy as np


class Purpose(IntEnum):
    """What random numbers are for: it leads their key, so that no two uses share a stream."""

    ORDER = 1
    SAMPLE = 2
    SYNTHESIS = 3


def keyed_rng(seed: int, purpose: Purpose, *position: int) -> np.random.Generator:
    """A generator that depends on its arguments alone (all of them 0 or more)."""
    return np.random.Generator(np.random.PCG64([purpose, seed, *position]))


class EpochSampler:
    """Every epoch a new permutation of the utterances, cut into full batches.

    The last, incomplete batch is dropped; since every epoch is ordered anew, nothing is left out for good.
    """

    def __init__(self, *, size: int, batch_size: int, seed: int) -> None:
        self.size = size
        self.batch_size = batch_size
        self.seed = seed

    @property
    def steps_per_epoch(self) -> int:
        return self.size // self.batch_size

    def order(self, epoch: int) -> np.ndarray:
        """int64 ``[size]``: the utterances' indices in the order of this epoch."""
        return keyed_rng(self.seed, Purpose.ORDER, epoch).permutation(self.size)

    def indices(self, epoch: int, start: int = 0) -> Iterator[int]:
        """The utterances' indices from batch ``start`` of an epoch on, as many as fill whole batches."""
        order = self.order(epoch)[start * self.batch_size : self.steps_per_epoch * self.batch_size]
        return map(int, order)
