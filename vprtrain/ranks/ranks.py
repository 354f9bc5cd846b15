"""The processes of a run, as the engine, modules and data see them. One process needs nothing of
all this."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from vprtrain.ranks.control import Json

if TYPE_CHECKING:
    import numpy as np
    import paddle


class Ranks:
    """The one process of a run without a launcher, and what several share: all operations are to be
    called by every rank, in the same order, except where they say otherwise."""

    rank: int = 0
    size: int = 1

    @property
    def is_first(self) -> bool:
        """Whether this rank is the one that writes and logs."""
        return self.rank == 0

    @property
    def attention(self) -> bool:
        """Whether some rank has called for it since the last exchange. By any rank, at any time."""
        return False

    def call_attention(self) -> None:
        """Ask all ranks to look up from uneven work. By any rank, at any time but in a signal
        handler."""

    def exchange(self, value: Json, *, hurry: Callable[[], bool] = lambda: False) -> Sequence[Json]:
        """The (small) values of all ranks in their order. It waits for as long as it takes.

        Args:
            hurry: asked now and then while this rank waits; once true, attention is called.

        Raises:
            RunError: another rank has failed or ended.
        """
        return [value]

    def gather(self, array: np.ndarray) -> list[np.ndarray]:
        """The arrays of all ranks, in their order; they may differ in their first dimension."""
        return [array]

    def broadcast(self, tensors: Sequence[paddle.Tensor]) -> None:
        """Give all ranks the first one's values, in place."""

    def combine(self, summed: Sequence[paddle.Tensor], first: Sequence[paddle.Tensor] = ()) -> None:
        """Replace ``summed`` by their sums over all ranks, and ``first`` by the first rank's
        values, in place.

        The results are the same to the bit on every rank.
        """

    @contextmanager
    def reporting(self) -> Iterator[None]:
        """Tell the other ranks of an exception inside, so that they end too. No collective is
        involved."""
        yield
