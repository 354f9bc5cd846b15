"""The search in a database of voiceprints, with a gallery that follows its changes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from vprtrain.voiceprints.codes import codes_of
from vprtrain.voiceprints.gallery import Gallery
from vprtrain.voiceprints.rows import name_of, names_of, voiceprints_of
from vprtrain.voiceprints.store import CodeBlock, Store

NO_SCORE = -1.0
"""The score of :meth:`Search.nearest` with no enrolled user: the lowest cosine."""

_RESCORED_AT_ONCE = 64
_NEARBY = 64
"""How many voiceprints an approximate index finds, for the exact scores"""


class Neighbour(NamedTuple):
    """A user whose voiceprint is near to an embedding."""

    user: str
    score: float
    """The cosine."""
    voiceprint: np.ndarray
    """float32 ``[dimension]``, of length 1."""


class Search:
    """Finds the nearest user, and users by name. The codes are read from the store at the first
    search; later calls read what has changed.

    All methods are called inside a transaction of the store.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._gallery = Gallery()
        self._read_until = 0  # the newest change that the gallery has; 0 before it was needed
        self._times_opened = store.times_opened

    def nearest(self, unit: np.ndarray) -> tuple[str | None, float]:
        """The user whose voiceprint has the highest cosine with a vector of length 1 (float64
        ``[dimension]``), and that cosine; ``(None, NO_SCORE)`` with no user."""
        best = self.nearby(unit, 1)
        return (best[0].user, best[0].score) if best else (None, NO_SCORE)

    def nearby(self, unit: np.ndarray, count: int) -> list[Neighbour]:
        """The users with the highest cosines, at most ``count``, the nearest first."""
        found = self._store.nearby(unit, max(count, _NEARBY))
        if found is not None:
            return self._best(unit, found, [np.inf] * len(found), count)
        self._catch_up()
        if not len(self._gallery):
            return []
        candidates = self._gallery.candidates(unit, count)
        return self._best(unit, candidates.ids.tolist(), candidates.bounds.tolist(), count)

    def find(self, name: str) -> int | None:
        """The id of a user, with the help of the gallery if it was needed before."""
        self.follow()
        if not self._read_until:
            return self._store.find(name)
        for key, found, _ in self._store.voiceprints(self._gallery.named(name)):
            if found == name:
                return key
        return None

    def follow(self) -> None:
        """Read what has changed, if the codes were needed before."""
        if self._read_until:
            self._catch_up()

    def _best(
        self, unit: np.ndarray, keys: Sequence[int], bounds: Sequence[float], count: int
    ) -> list[Neighbour]:
        """The best of some users by their exact cosines. A bound is of the cosine of its user and
        of those after it."""
        best: list[tuple[float, int, object, np.ndarray]] = []
        for start in range(0, len(keys), _RESCORED_AT_ONCE):
            if len(best) == count and bounds[start] < best[-1][0]:
                break
            rows = self._store.voiceprints(keys[start : start + _RESCORED_AT_ONCE])
            vectors = voiceprints_of([(name, blob) for _, name, blob in rows], len(unit))
            # Unlike a matrix product, this gives equal rows equal scores wherever they stand.
            scores = (vectors.astype(np.float64) * unit).sum(axis=1)
            for (key, name, _), score, vector in zip(rows, scores.tolist(), vectors, strict=True):
                best.append((score, -key, name, vector))
            best = sorted(best, key=lambda each: each[:2], reverse=True)[:count]
        return [
            Neighbour(name_of(name), min(max(score, -1.0), 1.0), vector)
            for score, _, name, vector in best
        ]

    def _catch_up(self) -> None:
        """Read the changes since the last call, by this or another process, into the gallery."""
        if self._store.times_opened != self._times_opened:
            self._gallery, self._read_until = Gallery(), 0
            self._times_opened = self._store.times_opened
        newest = self._store.newest_change()
        if newest == self._read_until:
            return
        if self._read_until:
            for rows in self._store.changed_codes(self._read_until):
                self._gallery.drop([row[0] for row in rows if row[1] is None])
                if left := [row for row in rows if row[1] is not None]:
                    self._put(CodeBlock(*zip(*left, strict=True)))
        else:
            self._gallery.reserve(self._store.count())
            for block in self._store.code_blocks():
                self._put(block)
        self._read_until = newest

    def _put(self, block: CodeBlock) -> None:
        codes = codes_of(block.names, block.codes, self._gallery.dimension)
        self._gallery.put(block.ids, names_of(block.names), codes)
