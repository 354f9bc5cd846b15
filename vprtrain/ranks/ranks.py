"""The ranks of a run, as the engine, modules and data see them.

:class:`Ranks` itself is the run of a single process, which needs no communication.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from vprtrain.ranks.connection import Json

if TYPE_CHECKING:
    import numpy as np
    import paddle


class Ranks:
    """A run of one process, and the interface that a run of several processes implements.

    Every rank must call the same operations in the same order. The exceptions say so.
    """

    rank: int = 0
    size: int = 1

    @property
    def is_first(self) -> bool:
        """Whether this is rank 0, which writes files and logs."""
        return self.rank == 0

    @property
    def attention(self) -> bool:
        """Whether some rank has called for attention since the last exchange.

        Any rank may read it at any time.
        """
        return False

    def call_attention(self) -> None:
        """Ask all ranks to break off work that takes each a different time, and to exchange.

        Any rank may call it at any time, except from a signal handler.
        """

    def exchange(self, value: Json, *, hurry: Callable[[], bool] = lambda: False) -> Sequence[Json]:
        """Exchange small values. Waits for the slowest rank, without a time limit.

        Args:
            value: this rank's value.
            hurry: polled while this rank waits. Once it returns true, attention is called.

        Returns:
            The values of all ranks, in rank order.

        Raises:
            RunError: another rank has failed or ended.
        """
        return [value]

    def gather(self, array: np.ndarray) -> list[np.ndarray]:
        """The arrays of all ranks, in rank order. Their first dimensions may differ."""
        return [array]

    def broadcast(self, tensors: Sequence[paddle.Tensor]) -> None:
        """Overwrite the tensors of all ranks with those of rank 0, in place."""

    def combine(self, summed: Sequence[paddle.Tensor], first: Sequence[paddle.Tensor] = ()) -> None:
        """Combine tensors over all ranks, in place. The result is bit-identical on every rank.

        Args:
            summed: replaced by their sums over all ranks.
            first: replaced by the values of rank 0.
        """

    @contextmanager
    def reporting(self) -> Iterator[None]:
        """Report an exception inside the block to the other ranks, so that they end too.

        Uses no collective.
        """
        yield
