"""Embeddings on disk, in parts that are written atomically, so that a killed extraction resumes."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vprtrain.errors import RunError, shown
from vprtrain.files import replacing, sha256, write_atomic
from vprtrain.scoring.npz import read_npz

log = logging.getLogger(__name__)

PART_SIZE = 1000
"""A part has this many utterances, or a few more. A killed process loses at most one part."""

_MOST_PART_BYTES = 2**30


class EmbeddingStore:
    """Embeddings by utterance id, in the order in which they are added.

    They are stored in a folder whose name is a digest of ``about``. It holds ``about`` as
    ``about.json`` and the parts as ``<index of the first utterance>.npz`` with ``keys`` (texts) and
    ``embeddings`` (float32 ``[keys, dimension]``), without pickles. Parts of an earlier process are
    used, up to the first one that is damaged.

    Args:
        folder: the parent of the folder.
        about: JSON values on which the embeddings depend. Embeddings with other values are never
            mixed in.

    Raises:
        RunError: the folder cannot be written.
    """

    def __init__(self, folder: Path, *, about: Mapping[str, Any]) -> None:
        text = json.dumps(about, indent=2, sort_keys=True).encode()
        self.folder = folder / sha256(text)[:16]
        self._keys: list[str] = []
        self._rows: list[np.ndarray] = []
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            write_atomic(self.folder / "about.json", text)
        except OSError as error:
            raise RunError(
                f"{self.folder} cannot be written ({error}): give another --out"
            ) from error
        self._starts, self._written = self._find_parts()

    def __len__(self) -> int:
        """The number of embeddings on disk and in memory."""
        return self._written + len(self._keys)

    def add(self, keys: Sequence[str], embeddings: np.ndarray) -> None:
        """Add embeddings ``[keys, dimension]``. They are written once they fill a part."""
        self._keys += keys
        self._rows += list(np.asarray(embeddings, dtype=np.float32))
        if len(self._keys) >= PART_SIZE:
            self.flush()

    def flush(self) -> None:
        """Write the embeddings in memory as a part.

        Raises:
            RunError: the part could not be written; the earlier parts are intact.
        """
        if not self._keys:
            return
        path = self._part(self._written)
        try:
            with replacing(path) as temporary, open(temporary, "wb") as file:
                np.savez(file, keys=np.array(self._keys), embeddings=np.stack(self._rows))
        except OSError as error:
            raise RunError(
                f"{path} could not be written ({error}): make room, then run the same command again"
            ) from error
        self._starts.append(self._written)
        self._written += len(self._keys)
        self._keys, self._rows = [], []

    def parts(self) -> Iterator[tuple[list[str], np.ndarray]]:
        """The ids and embeddings (float32 ``[ids, dimension]``) of each part on disk, in order."""
        for start in self._starts:
            yield _read(self._part(start))

    def read(self) -> dict[str, np.ndarray]:
        """All embeddings on disk, by id."""
        return {
            key: row for keys, rows in self.parts() for key, row in zip(keys, rows, strict=True)
        }

    def _part(self, start: int) -> Path:
        return self.folder / f"{start:09}.npz"

    def _find_parts(self) -> tuple[list[int], int]:
        """The index of the first utterance of each part on disk, and the number of utterances."""
        starts, end = [], 0
        while (path := self._part(end)).exists():
            try:
                keys, _ = _read(path)
            except ValueError as error:
                log.warning(
                    "%s is damaged (%s): the embeddings are computed again from there", path, error
                )
                break
            starts.append(end)
            end += len(keys)
        return starts, end


def _read(path: Path) -> tuple[list[str], np.ndarray]:
    part = read_npz(path, _MOST_PART_BYTES)
    if set(part) != {"keys", "embeddings"}:
        raise ValueError(f"the arrays {shown(sorted(part))}")
    keys, embeddings = part["keys"], part["embeddings"]
    if (
        (keys.ndim, keys.dtype.kind) != (1, "U")
        or embeddings.ndim != 2
        or embeddings.dtype != np.float32
        or not 0 < len(keys) == len(embeddings)
    ):
        raise ValueError(
            f"{keys.dtype} keys {keys.shape}, {embeddings.dtype} embeddings {embeddings.shape}"
        )
    return keys.tolist(), embeddings
