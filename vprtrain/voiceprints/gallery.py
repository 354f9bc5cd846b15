"""Voiceprints in memory, for the search."""

from __future__ import annotations

import numpy as np


class Gallery:
    """A vector of length 1 and a name for each id. The vectors are the rows of one matrix, so a
    search is one matrix product."""

    def __init__(self) -> None:
        self._matrix = np.zeros((0, 0), dtype=np.float32)
        self._ids: list[int] = []
        self._names: list[str] = []
        self._rows: dict[int, int] = {}

    def __len__(self) -> int:
        return len(self._ids)

    @property
    def dimension(self) -> int:
        """The number of values of a vector; 0 before the first one."""
        return int(self._matrix.shape[1])

    def put(self, key: int, name: str, vector: np.ndarray) -> None:
        """Add or replace the vector (float32 ``[dimension]``) and the name of an id."""
        row = self._rows.get(key, len(self._ids))
        if row == len(self._matrix):
            self._grow(len(vector))
        self._matrix[row] = vector
        if row == len(self._ids):
            self._ids.append(key)
            self._names.append(name)
            self._rows[key] = row
        self._names[row] = name

    def drop(self, key: int) -> None:
        """Remove an id, if it is known."""
        row = self._rows.pop(key, None)
        if row is None:
            return
        last_id, last_name = self._ids.pop(), self._names.pop()
        if row < len(self._ids):
            self._ids[row], self._names[row] = last_id, last_name
            self._matrix[row] = self._matrix[len(self._ids)]
            self._rows[last_id] = row
        self._matrix[len(self._ids)] = 0  # no copy of a removed voiceprint remains

    def nearest(self, vector: np.ndarray) -> tuple[str, float]:
        """The name with the highest cosine, and that cosine.

        Args:
            vector: float ``[dimension]`` of length 1.

        Raises:
            ValueError: the gallery is empty, or has another dimension.
        """
        scores = self._matrix[: len(self._ids)] @ vector.astype(np.float32)
        best = int(scores.argmax())
        return self._names[best], min(max(float(scores[best]), -1.0), 1.0)

    def _grow(self, dimension: int) -> None:
        larger = np.zeros((max(1024, 2 * len(self._matrix)), dimension), dtype=np.float32)
        if len(self._matrix):
            larger[: len(self._matrix)] = self._matrix
        self._matrix = larger
