"""Shards: the utterances of a manifest in a few large tar files, for storage on which a million
small files are slow.

A folder of shards holds::

    train-000000.tar ..   WebDataset's layout: KEY.flac (the utterance's file, unchanged), KEY.json
    index.tsv             KEY<TAB>shard<TAB>offset<TAB>size of the audio, in the manifest's order
    plan.json             what was packed

KEY is the number of the utterance in the manifest, from 0. :func:`vprtrain.data.pack` writes them.
"""

from __future__ import annotations

import json
import os
from array import array
from pathlib import Path

import numpy as np

from vprtrain.data.audio.files import ByteRange
from vprtrain.data.manifest import Manifest
from vprtrain.data.reading import Reading
from vprtrain.data.source import Source
from vprtrain.errors import UsageError
from vprtrain.files import StrPath

INDEX = "index.tsv"
PLAN = "plan.json"

_INDEX_LINE = "KEY<TAB>shard<TAB>offset<TAB>size"


class ShardSource(Source):
    """The utterances of a manifest, read from shards by their offsets.

    The samples equal those from files bit for bit.

    Raises:
        UsageError: the folder does not hold complete shards of this manifest.
    """

    def __init__(
        self, *, manifest: Manifest, folder: StrPath, reading: Reading = Reading()
    ) -> None:
        super().__init__(manifest=manifest, reading=reading)
        folder = Path(folder)
        if not (folder / INDEX).is_file() or not (folder / PLAN).is_file():
            raise UsageError(
                f"{folder}: {INDEX} or {PLAN} is missing; "
                "expected the folder that prepare --shards filled"
            )
        plan = json.loads((folder / PLAN).read_text(encoding="utf-8"))
        packed = plan.get("manifest_sha256", "unknown: packing was interrupted")
        if packed != manifest.sha256:
            raise UsageError(
                f"{folder}: shards of another manifest (sha256 {packed}) than {manifest.path} "
                f"({manifest.sha256}); pack it again with prepare --shards"
            )
        self._shards, self._shard, self._offset, self._size = _read_index(folder / INDEX)
        missing = [path for path in self._shards if not os.path.isfile(path)]
        if missing:
            raise UsageError(
                f"{missing[0]}: no such file, but {INDEX} names it "
                f"({len(missing)} shards are missing); pack again with prepare --shards"
            )

    def locate(self, index: int) -> ByteRange:
        return ByteRange(
            self._shards[self._shard[index]], int(self._offset[index]), int(self._size[index])
        )


def _read_index(path: Path) -> tuple[list[str], np.ndarray, np.ndarray, np.ndarray]:
    """The paths of the shards; and for every utterance the number of its shard, its offset and its
    size in bytes."""
    shards: dict[str, int] = {}
    places, offsets, sizes = array("i"), array("q"), array("q")
    with open(path, encoding="utf-8") as file:
        for number, line in enumerate(file):
            try:
                key, shard, offset, size = line.split("\t")
                if int(key) != number:
                    raise ValueError
                offsets.append(int(offset))
                sizes.append(int(size))
            except ValueError as error:
                raise UsageError(
                    f"{path}, line {number + 1}: expected {_INDEX_LINE}, found {line[:200]!r}"
                ) from error
            places.append(shards.setdefault(shard, len(shards)))
    shard_of = np.frombuffer(places, dtype=np.int32)
    offset_of, size_of = (np.frombuffer(column, dtype=np.int64) for column in (offsets, sizes))
    return [str(path.parent / name) for name in shards], shard_of, offset_of, size_of
