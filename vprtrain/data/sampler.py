"""Which utterances are trained on when, as a function of the seed and the epoch."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from enum import IntEnum
from math import ceil

import numpy as np

from vprtrain.errors import UsageError
from vprtrain.spec import Specified


class Purpose(IntEnum):
    """What random numbers are for: it leads their key, so that no two uses share a stream."""

    ORDER = 1
    SAMPLE = 2
    SYNTHESIS = 3
    SPEED = 4
    AUGMENTATION = 5
    LENGTH = 6


def keyed_rng(seed: int, purpose: Purpose, *position: int) -> np.random.Generator:
    """A generator that depends on its arguments alone (all of them 0 or more)."""
    return np.random.Generator(np.random.PCG64([purpose, seed, *position]))


class SamplingOrder(Specified, ABC):
    """A way to draw an epoch's utterances.

    A *draw* is a number: ``draw % utterances`` is the utterance, and ``draw // utterances`` how
    often it came before in this epoch, so that each time something else is made of it.
    """

    def __init__(self) -> None:  # for `spec`, which takes the arguments from here
        pass

    @abstractmethod
    def size(self, labels: np.ndarray, batch_size: int) -> int:
        """How many draws an epoch has. Raises :class:`UsageError` for data or a batch that it
        cannot work with."""

    @abstractmethod
    def draws(self, labels: np.ndarray, batch_size: int, rng: np.random.Generator) -> np.ndarray:
        """int64 ``[size]``: an epoch's draws in their order. ``labels`` are the utterances'
        speakers."""


class ShuffledOrder(SamplingOrder):
    """Every utterance once, in random order."""

    def size(self, labels: np.ndarray, batch_size: int) -> int:
        return len(labels)

    def draws(self, labels: np.ndarray, batch_size: int, rng: np.random.Generator) -> np.ndarray:
        return rng.permutation(len(labels))


class BalancedOrder(SamplingOrder):
    """Every speaker equally often, in random order: as often as there are utterances a speaker on
    average."""

    def size(self, labels: np.ndarray, batch_size: int) -> int:
        speakers = len(np.unique(labels))
        return ceil(len(labels) / speakers) * speakers

    def draws(self, labels: np.ndarray, batch_size: int, rng: np.random.Generator) -> np.ndarray:
        count = self.size(labels, batch_size) // len(np.unique(labels))
        return rng.permutation(_draws_of_speakers(labels, count, rng).ravel())


class GroupedOrder(SamplingOrder):
    """P x K: every batch holds ``utterances_per_speaker`` utterances (K) of each of its speakers
    (P), side by side.

    For losses that compare utterances within a batch. An epoch has about as many draws as there are
    utterances; it goes through the speakers in rounds, each in a new order, and leaves out those
    that do not fill a round's last batch. Where speed perturbation makes new speakers, the K are of
    one voice but may be of several classes.
    """

    def __init__(self, *, utterances_per_speaker: int = 2) -> None:
        if utterances_per_speaker < 2:
            raise UsageError(
                f"GroupedOrder: utterances_per_speaker is {utterances_per_speaker}; expected 2 or more"
            )
        self.utterances_per_speaker = utterances_per_speaker

    def size(self, labels: np.ndarray, batch_size: int) -> int:
        groups, rest = divmod(batch_size, self.utterances_per_speaker)
        speakers = len(np.unique(labels))
        if rest or groups > speakers:
            raise UsageError(
                f"batch_size is {batch_size}; GroupedOrder expects {self.utterances_per_speaker} utterances "
                f"(utterances_per_speaker) of each of at most {speakers} speakers"
            )
        a_round = speakers // groups * batch_size
        return max(1, round(len(labels) / a_round)) * a_round

    def draws(self, labels: np.ndarray, batch_size: int, rng: np.random.Generator) -> np.ndarray:
        speakers = len(np.unique(labels))
        taken = speakers - speakers % (batch_size // self.utterances_per_speaker)  # of a round
        rounds = self.size(labels, batch_size) // (taken * self.utterances_per_speaker)
        draws = _draws_of_speakers(labels, rounds * self.utterances_per_speaker, rng)
        groups = draws.reshape(speakers, rounds, self.utterances_per_speaker)
        return np.concatenate(
            [groups[rng.permutation(speakers)[:taken], number].ravel() for number in range(rounds)]
        )


class EpochSampler:
    """An order, made anew every epoch, cut into full batches and shared out among processes.

    The last, incomplete batch is dropped. Every process takes its equal part of every batch, the
    first the first: all of them together train on the same, however many they are.
    """

    def __init__(
        self,
        *,
        labels: np.ndarray,
        batch_size: int,
        seed: int,
        order: SamplingOrder,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        """``labels`` are the utterances' speakers; ``batch_size`` is of all processes together."""
        if batch_size % world_size:
            raise UsageError(
                f"batch_size is {batch_size}, of which {world_size} processes cannot take equal parts; make it a "
                "multiple of their number"
            )
        self.batch_size = batch_size
        self.part_size = batch_size // world_size
        self.steps_per_epoch = order.size(labels, batch_size) // batch_size
        self._part = slice(rank * self.part_size, (rank + 1) * self.part_size)
        self._labels = labels
        self._order = order
        self._seed = seed

    def batches(self, epoch: int, start: int = 0) -> Iterator[np.ndarray]:
        """This process's draws, int64 ``[part_size]``, of every batch of an epoch from batch
        ``start`` on."""
        rng = keyed_rng(self._seed, Purpose.ORDER, epoch)
        draws = self._order.draws(self._labels, self.batch_size, rng)[
            : self.steps_per_epoch * self.batch_size
        ]
        return iter(draws.reshape(self.steps_per_epoch, self.batch_size)[start:, self._part])


def _draws_of_speakers(labels: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """int64 ``[speakers, count]``: draws of each speaker's utterances in random order, again from
    the first where there are fewer than ``count``."""
    by_speaker = np.lexsort((rng.random(len(labels)), labels))
    _, first, available = np.unique(labels[by_speaker], return_index=True, return_counts=True)
    again, place = np.divmod(np.arange(count), available[:, None])
    return by_speaker[first[:, None] + place] + again * len(labels)
