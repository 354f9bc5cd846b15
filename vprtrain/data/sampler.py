"""The order in which utterances are trained on, as a function of the seed and the epoch."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from enum import IntEnum
from math import ceil
from typing import Any

import numpy as np

from vprtrain.data.rank_share import RankShare
from vprtrain.errors import UsageError, require_at_least
from vprtrain.spec import Specified


class Purpose(IntEnum):
    """What random numbers are used for. It is the first part of a generator's key, so that no two
    uses share a stream."""

    ORDER = 1
    SAMPLE = 2
    SYNTHESIS = 3
    SPEED = 4
    AUGMENTATION = 5
    LENGTH = 6
    CONVERSATION = 7


def keyed_rng(seed: int, purpose: Purpose, *position: int) -> np.random.Generator:
    """A generator that depends on its arguments only; every argument is 0 or more."""
    return np.random.Generator(np.random.PCG64([purpose, seed, *position]))


class SamplingOrder(Specified, ABC):
    """A way to draw the utterances of an epoch.

    A *draw* is a number: ``draw % utterances`` is the utterance's index, and ``draw // utterances``
    counts how often it was drawn before in this epoch. Repeated utterances therefore get another
    crop and other augmentations.
    """

    def __init__(self) -> None:  # `spec` takes the arguments from this signature
        pass

    @abstractmethod
    def size(self, labels: np.ndarray, batch_size: int) -> int:
        """The number of draws in an epoch.

        Raises:
            UsageError: the data or the batch size does not suit this order.
        """

    @abstractmethod
    def draws(self, labels: np.ndarray, batch_size: int, rng: np.random.Generator) -> np.ndarray:
        """The draws of an epoch in their order, int64 ``[size]``.

        Args:
            labels: the speaker of every utterance, ``[utterances]``.
            batch_size: draws in a batch, over all ranks.
            rng: the source of randomness for this epoch.
        """


class ShuffledOrder(SamplingOrder):
    """Every utterance once, in random order."""

    def size(self, labels: np.ndarray, batch_size: int) -> int:
        return len(labels)

    def draws(self, labels: np.ndarray, batch_size: int, rng: np.random.Generator) -> np.ndarray:
        return rng.permutation(len(labels))


class BalancedOrder(SamplingOrder):
    """Every speaker equally often, in random order.

    Each speaker is drawn as often as a speaker has utterances on average, rounded up.
    """

    def size(self, labels: np.ndarray, batch_size: int) -> int:
        speakers = len(np.unique(labels))
        return ceil(len(labels) / speakers) * speakers

    def draws(self, labels: np.ndarray, batch_size: int, rng: np.random.Generator) -> np.ndarray:
        count = self.size(labels, batch_size) // len(np.unique(labels))
        return rng.permutation(_draws_of_speakers(labels, count, rng).ravel())


class GroupedOrder(SamplingOrder):
    """P x K batches: ``utterances_per_speaker`` utterances (K) of each of P speakers, side by side.

    For losses that compare utterances within a batch. An epoch has about as many draws as there are
    utterances. It consists of rounds; each round visits the speakers in a new order and drops those
    that do not fill its last batch. With speed perturbation that makes new speakers, the K
    utterances are of one voice but may belong to several classes.
    """

    def __init__(self, *, utterances_per_speaker: int = 2) -> None:
        if utterances_per_speaker < 2:
            raise UsageError(
                f"GroupedOrder: utterances_per_speaker is {utterances_per_speaker}; "
                "expected 2 or more"
            )
        self.utterances_per_speaker = utterances_per_speaker

    def size(self, labels: np.ndarray, batch_size: int) -> int:
        groups, rest = divmod(batch_size, self.utterances_per_speaker)
        speakers = len(np.unique(labels))
        if rest or groups > speakers:
            raise UsageError(
                f"batch_size is {batch_size}; GroupedOrder expects {self.utterances_per_speaker} "
                f"utterances (utterances_per_speaker) of each of at most {speakers} speakers"
            )
        round_size = speakers // groups * batch_size
        return max(1, round(len(labels) / round_size)) * round_size

    def draws(self, labels: np.ndarray, batch_size: int, rng: np.random.Generator) -> np.ndarray:
        speakers = len(np.unique(labels))
        in_round = speakers - speakers % (batch_size // self.utterances_per_speaker)
        rounds = self.size(labels, batch_size) // (in_round * self.utterances_per_speaker)
        draws = _draws_of_speakers(labels, rounds * self.utterances_per_speaker, rng)
        groups = draws.reshape(speakers, rounds, self.utterances_per_speaker)
        return np.concatenate(
            [
                groups[rng.permutation(speakers)[:in_round], number].ravel()
                for number in range(rounds)
            ]
        )


class EpochSampler:
    """A new order for every epoch, cut into full batches that the ranks share.

    An incomplete last batch is dropped. Every rank takes an equal part of every batch, so all ranks
    together train on the same batches whatever the world size is.

    Args:
        labels: the speaker of every utterance, ``[utterances]``.
        batch_size: draws in a batch, over all ranks.
        seed: of the orders.
        order: how an epoch's utterances are drawn.
        share: the part of every batch that this rank takes.

    Raises:
        UsageError: ``batch_size`` does not suit the order or the world size.
    """

    def __init__(
        self,
        *,
        labels: np.ndarray,
        batch_size: int,
        seed: int,
        order: SamplingOrder,
        share: RankShare = RankShare(),
    ) -> None:
        require_at_least("batch_size", batch_size, 1)
        require_at_least("seed", seed, 0)
        self.batch_size = batch_size
        self.world_size = share.world_size
        self.part_size = batch_size // share.world_size
        self._part = share.of_batch(batch_size)
        self.steps_per_epoch = order.size(labels, batch_size) // batch_size
        self._labels = labels
        self._order = order
        self._seed = seed

    def batches(self, epoch: int, start: int = 0) -> Iterator[np.ndarray]:
        """This rank's draws, int64 ``[part_size]``, of every batch of an epoch from batch ``start``
        on."""
        rng = keyed_rng(self._seed, Purpose.ORDER, epoch)
        draws = self._order.draws(self._labels, self.batch_size, rng)
        full = draws[: self.steps_per_epoch * self.batch_size]
        return iter(full.reshape(self.steps_per_epoch, self.batch_size)[start:, self._part])

    def fingerprint(self) -> dict[str, Any]:
        """JSON values that the order of the utterances depends on."""
        return {"batch_size": self.batch_size, "order": self._order.spec, "seed": self._seed}


def _draws_of_speakers(labels: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """``count`` draws of each speaker's utterances in random order, int64 ``[speakers, count]``.

    A speaker with fewer than ``count`` utterances starts again from the first of them.
    """
    by_speaker = np.lexsort((rng.random(len(labels)), labels))
    _, first, available = np.unique(labels[by_speaker], return_index=True, return_counts=True)
    repeats, place = np.divmod(np.arange(count), available[:, None])
    draws: np.ndarray = by_speaker[first[:, None] + place] + repeats * len(labels)
    return draws
