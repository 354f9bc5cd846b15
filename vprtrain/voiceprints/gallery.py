"""The codes of voiceprints in memory, for the search."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from typing import NamedTuple

import numpy as np

from vprtrain.voiceprints import products
from vprtrain.voiceprints.codes import MOST_UNIT_ERROR, encode

_ROWS_AT_ONCE = 1 << 17
"""The rows that one thread takes. With a quarter of them the threads wait for each other so often
that a search among a million takes half as long again."""
_FIRST_ROWS = 1024
_ROUNDING = 1e-5
"""More than what float32 arithmetic changes in an approximate cosine of up to 1,000 values"""
_DROPPED = np.float32(-np.inf)
"""The error of a dropped id: its bounds are below every score."""


class Candidates(NamedTuple):
    """The ids whose voiceprint can be the nearest one, the most promising first."""

    ids: np.ndarray
    """int64 ``[candidates]``."""
    bounds: np.ndarray
    """float64 ``[candidates]``: no cosine is above its bound."""


class Gallery:
    """The code of a voiceprint, and the hash of a name, for each id.

    A code has one byte for each value where the extra ``vprtrain[search]`` is installed. Without it
    a value takes four bytes, because NumPy multiplies bytes ten times more slowly than floats. The
    results are equal: both products are exact whole numbers.
    """

    def __init__(self) -> None:
        self._reserved = _FIRST_ROWS
        self._size = 0  # rows in use; those of dropped ids are among them
        self._live = 0
        self._ids = np.zeros(0, np.int64)  # ascending
        self._names = np.zeros(0, np.int64)
        self._steps = np.zeros(0, np.float32)
        self._errors = np.zeros(0, np.float32)
        self._codes = np.zeros((0, 0), products.code_values())

    def __len__(self) -> int:
        return self._live

    @property
    def dimension(self) -> int | None:
        """The number of values of a voiceprint; ``None`` with no id."""
        return int(self._codes.shape[1]) if self._live else None

    def reserve(self, rows: int) -> None:
        """Make room for so many ids, to put them without a copy of those before."""
        self._reserved = rows

    def put(self, ids: Sequence[int] | np.ndarray, names: Sequence[str], codes: np.ndarray) -> None:
        """Add or replace the names and codes of some ids, each once.

        Args:
            codes: records of :func:`vprtrain.voiceprints.codes.code_type`.

        Raises:
            ValueError: the codes have another dimension than those here.
        """
        if self._live and codes["code"].shape[1] != self.dimension:
            raise ValueError(
                f"a code has the dimension {codes['code'].shape[1]}, expected {self.dimension}"
            )
        if not self._live:
            self._size = 0
            self._codes = np.zeros((len(self._ids), codes["code"].shape[1]), self._codes.dtype)
        hashes = np.fromiter(map(hash, names), np.int64, len(names))
        keys = np.asarray(ids, np.int64)
        rows, known = self._rows_of(keys)
        if known.any():
            self._write(rows[known], keys[known], hashes[known], codes[known])
            keys, hashes, codes = keys[~known], hashes[~known], codes[~known]
        start, self._size = self._size, self._size + len(keys)
        if self._size > len(self._ids):
            self._resize(max(self._reserved, self._size + self._size // 8))
        self._errors[start : self._size] = _DROPPED
        self._write(slice(start, self._size), keys, hashes, codes)
        if not (np.diff(self._ids[max(start - 1, 0) : self._size]) > 0).all():
            self._keep(np.argsort(self._ids[: self._size], kind="stable"))

    def drop(self, ids: Sequence[int]) -> None:
        """Remove ids. Those that are not known are ignored."""
        rows, known = self._rows_of(np.asarray(ids, np.int64))
        rows = rows[known]
        self._live -= int(np.count_nonzero(self._errors[rows] >= 0))
        # No copy of a removed voiceprint remains.
        self._names[rows] = self._steps[rows] = self._codes[rows] = 0
        self._errors[rows] = _DROPPED
        if self._size - self._live > max(self._live, _FIRST_ROWS):
            self._keep(np.flatnonzero(self._errors[: self._size] >= 0))

    def named(self, name: str) -> list[int]:
        """The ids that can have a name. Other names may have the same hash."""
        rows = np.flatnonzero(self._names[: self._size] == hash(name))
        return [int(self._ids[row]) for row in rows if self._errors[row] >= 0]

    def candidates(self, vector: np.ndarray, count: int = 1) -> Candidates:
        """The ids whose voiceprint can have one of the highest cosines with a vector.

        Args:
            vector: float ``[dimension]`` of length 1.
            count: the number of these highest cosines.

        Raises:
            ValueError: the gallery is empty, or has another dimension.
        """
        if vector.shape != (self.dimension,):
            raise ValueError(f"a vector has the shape {vector.shape}, expected ({self.dimension},)")
        (probe,) = encode(vector[None])
        rounding = max(_ROUNDING, len(vector) * float(np.finfo(np.float32).eps))
        margin = (1 + MOST_UNIT_ERROR) * float(probe["error"]) + rounding
        bounds = np.empty(self._size, np.float32)
        starts = range(0, self._size, _ROWS_AT_ONCE)
        most = min(count, self._live)
        highest = self._map(lambda start: self._bound(probe, start, bounds, most), starts)
        lowest = np.sort(np.concatenate(list(highest)))[-most]
        rows = np.flatnonzero(bounds >= lowest - 2 * margin)
        rows = rows[np.argsort(-bounds[rows], kind="stable")]
        return Candidates(self._ids[rows], bounds[rows] + margin)

    def _bound(self, probe: np.void, start: int, bounds: np.ndarray, count: int) -> np.ndarray:
        """Fill in the upper bounds of a block without the common margin, and give the lower bounds
        of the ``count`` rows where they are highest."""
        rows = slice(start, min(start + _ROWS_AT_ONCE, self._size))
        upper = bounds[rows]
        upper[:] = products.products(self._codes[rows], probe["code"])
        upper *= self._steps[rows]
        upper *= probe["step"]
        spread = self._errors[rows] * (1 + probe["error"])
        upper += spread
        count = min(count, len(upper))
        first = [upper.argmax()] if count == 1 else np.argpartition(upper, -count)[-count:]
        return np.asarray(upper[first] - 2 * np.abs(spread[first]))

    @cached_property
    def _pool(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(_threads(), thread_name_prefix="voiceprints")

    def _map(self, function: Callable[[int], np.ndarray], starts: range) -> Iterator[np.ndarray]:
        # The product of floats uses several threads by itself.
        in_threads = products.HAS_BYTE_PRODUCTS and len(starts) > 1 and _threads() > 1
        return self._pool.map(function, starts) if in_threads else map(function, starts)

    def _rows_of(self, wanted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The row of each id, dropped ones included, and whether it has one."""
        used = self._ids[: self._size]
        rows = np.searchsorted(used, wanted)
        known = rows < self._size
        known[known] = used[rows[known]] == wanted[known]
        return rows, known

    def _write(
        self, rows: np.ndarray | slice, ids: np.ndarray, hashes: np.ndarray, codes: np.ndarray
    ) -> None:
        self._live += int(np.count_nonzero(~(self._errors[rows] >= 0)))
        self._ids[rows], self._names[rows] = ids, hashes
        self._steps[rows], self._errors[rows] = codes["step"], codes["error"]
        self._codes[rows] = codes["code"]

    def _columns(self) -> tuple[np.ndarray, ...]:
        return self._ids, self._names, self._steps, self._errors, self._codes

    def _resize(self, rows: int) -> None:
        # New arrays, not ``ndarray.resize``: NumPy asks for huge pages only where it allocates, and
        # a search through small ones takes half as long again.
        self._ids, self._names, self._steps, self._errors, self._codes = (
            _larger(column, rows) for column in self._columns()
        )

    def _keep(self, rows: np.ndarray) -> None:
        for column in self._columns():
            column[: len(rows)] = column[rows]
            column[len(rows) :] = 0
        self._size = len(rows)


def _larger(column: np.ndarray, rows: int) -> np.ndarray:
    larger = np.zeros((rows, *column.shape[1:]), column.dtype)
    larger[: len(column)] = column
    return larger


def _threads() -> int:
    chosen = os.environ.get("OMP_NUM_THREADS", "")
    return int(chosen) if chosen.isdigit() and int(chosen) else len(os.sched_getaffinity(0))
