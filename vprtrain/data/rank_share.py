"""The share of the data that one rank reads."""

from __future__ import annotations

from typing import NamedTuple

from vprtrain.errors import UsageError


class RankShare(NamedTuple):
    """Which rank this is, and among how many the data is shared out."""

    rank: int = 0
    world_size: int = 1

    def of_batch(self, batch_size: int) -> slice:
        """This rank's part of a batch: all parts are equal, and rank 0 has the first.

        Raises:
            UsageError: ``batch_size`` is not a multiple of the world size.
        """
        size, rest = divmod(batch_size, self.world_size)
        if rest:
            raise UsageError(
                f"batch_size is {batch_size}, which {self.world_size} ranks cannot share equally; "
                f"make it a multiple of {self.world_size}"
            )
        return slice(self.rank * size, (self.rank + 1) * size)

    def owns(self, number: int) -> bool:
        """Whether this rank takes item ``number`` (from 0) of a list that is dealt out in turn."""
        return number % self.world_size == self.rank
