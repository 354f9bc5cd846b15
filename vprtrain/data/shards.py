"""Shards: the utterances of a manifest in a few large tar files, for storage on which a million
small files are slow.

A folder of shards holds::

    train-000000.tar ..   WebDataset's layout: KEY.flac (the utterance's file, unchanged), KEY.json
    index.tsv             KEY<TAB>shard<TAB>offset<TAB>size of the audio, in the manifest's order
    plan.json             what was packed

KEY is the number of the utterance in the manifest, from 0. :func:`vprtrain.data.pack` writes them.
"""

from __future__ import annotations

import os
import re
import stat
from array import array
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from vprtrain.data.audio.files import ByteRange
from vprtrain.data.manifest import Manifest
from vprtrain.data.reading import Reading
from vprtrain.data.source import Source
from vprtrain.errors import UsageError, cause, shown
from vprtrain.files import StrPath, parse_json, read_file
from vprtrain.lists import read_blocks

INDEX = "index.tsv"
PLAN = "plan.json"

_INDEX_LINE = "KEY<TAB>shard<TAB>offset<TAB>size"
_SHARD = re.compile(r"train-[0-9]{6,9}\.tar")
_MOST_PLAN_BYTES = 1 << 16


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
        if not (folder / INDEX).exists() or not (folder / PLAN).exists():
            raise UsageError(
                f"{folder}: {INDEX} or {PLAN} is missing; "
                "expected the folder that prepare --shards filled"
            )
        packed = read_plan(folder / PLAN).get("manifest_sha256", "unknown: packing was interrupted")
        if packed != manifest.sha256:
            raise UsageError(
                f"{folder}: shards of another manifest (sha256 {shown(packed)}) than "
                f"{manifest.path} ({manifest.sha256}); pack it again with prepare --shards"
            )
        self._shards, self._shard, self._offset, self._size = _read_index(
            folder / INDEX, len(manifest)
        )
        _require_inside(folder / INDEX, self._shards, self._shard, self._offset, self._size)

    def locate(self, index: int) -> ByteRange:
        return ByteRange(
            self._shards[self._shard[index]], int(self._offset[index]), int(self._size[index])
        )


def read_plan(path: Path) -> dict[str, str]:
    """The plan of a folder of shards: digests of what was packed, by name.

    Raises:
        UsageError: the file is not a plan.
    """
    try:
        plan = parse_json(read_file(path, _MOST_PLAN_BYTES))
        if not isinstance(plan, dict) or not all(isinstance(each, str) for each in plan.values()):
            raise ValueError(f"found {shown(plan)}")
        if "sha256" not in plan:
            raise ValueError("it has no sha256")
    except (OSError, ValueError) as error:
        raise UsageError(
            f"{path} is not a plan of shards ({cause(error)}); delete the folder and pack again "
            "with prepare --shards"
        ) from error
    return plan


def _read_index(path: Path, count: int) -> tuple[list[str], np.ndarray, np.ndarray, np.ndarray]:
    """The paths of the shards; and for each of ``count`` utterances the number of its shard, its
    offset and its size in bytes."""
    shards: dict[str, int] = {}
    places, offsets, sizes = array("i"), array("q"), array("q")
    for number, block in read_blocks(path, f"lines of {_INDEX_LINE}"):
        first = len(places)
        try:
            names, starts, lengths = _split(block, first)
            for name in dict.fromkeys(names):
                shards.setdefault(name, len(shards))
            places.extend(map(shards.__getitem__, names))
            offsets.extend(starts)
            sizes.extend(lengths)
        except (ValueError, OverflowError):
            raise _malformed(path, number, block, first) from None
        if len(places) > count:
            break
    if len(places) != count:
        raise UsageError(
            f"{path}: {len(places)} lines, expected one for each of the {count} utterances; pack "
            "again with prepare --shards"
        )
    shard_of = np.frombuffer(places, dtype=np.int32)
    offset_of, size_of = (np.frombuffer(column, dtype=np.int64) for column in (offsets, sizes))
    return [str(path.parent / name) for name in shards], shard_of, offset_of, size_of


def _split(block: bytes, first: int) -> tuple[list[str], Iterable[int], Iterable[int]]:
    """The shards, offsets and sizes of consecutive lines, of which the first has the key
    ``first``.

    Raises:
        ValueError: a line is malformed.
    """
    fields = block.decode().removesuffix("\n").replace("\n", "\t").split("\t")
    keys, names = list(map(int, fields[::4])), fields[1::4]
    if len(fields) % 4 or keys != list(range(first, first + len(keys))):
        raise ValueError
    if not all(map(_SHARD.fullmatch, dict.fromkeys(names))):
        raise ValueError
    return names, map(int, fields[2::4]), map(int, fields[3::4])


def _malformed(path: Path, number: int, block: bytes, first: int) -> UsageError:
    """The error for the first line of a block that :func:`_split` refuses."""
    for place, line in enumerate(block.split(b"\n")):
        try:
            _, starts, lengths = _split(line, first + place)
            array("q", [*starts, *lengths])
        except (ValueError, OverflowError):
            break
    return UsageError(
        f"{path}, line {number + place}: expected {_INDEX_LINE}, found "
        f"{shown(line.decode(errors='replace'))}"
    )


def _require_inside(
    index: Path, shards: list[str], shard: np.ndarray, offset: np.ndarray, size: np.ndarray
) -> None:
    """Check that each utterance lies in its shard, and that the shards are regular files."""
    sizes = np.array([_size(path) for path in shards], dtype=np.int64)
    if missing := [path for path, bytes_ in zip(shards, sizes, strict=True) if bytes_ < 0]:
        raise UsageError(
            f"{missing[0]}: no such file, but {INDEX} names it "
            f"({len(missing)} shards are missing); pack again with prepare --shards"
        )
    ends = sizes[shard]
    outside = (offset < 0) | (size < 0) | (offset > ends) | (size > ends - offset)
    if outside.any():
        first = int(np.argmax(outside))
        raise UsageError(
            f"{index}, utterance {first}: {size[first]} bytes from {offset[first]} on, but "
            f"{shards[shard[first]]} has {ends[first]} bytes; pack again with prepare --shards"
        )


def _size(path: str) -> int:
    """The size of a regular file; -1 if there is none."""
    try:
        status = os.stat(path)
    except OSError:
        return -1
    return status.st_size if stat.S_ISREG(status.st_mode) else -1
