"""Shards: a manifest's utterances in a few large tar files, for storage that is slow with a million
small ones.

A folder of shards holds

    train-000000.tar ..    WebDataset's layout: KEY.flac (or whatever the utterance is, unchanged)
    and KEY.json index.tsv              KEY<TAB>shard<TAB>offset<TAB>size of the audio, in the
    manifest's order plan.json              what was packed

where KEY is the utterance's line in the manifest, from 0.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import tarfile
from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from tqdm import tqdm

from vprtrain.data.audio.decoders import ByteRange
from vprtrain.data.loader import load_in_order
from vprtrain.data.manifest import Manifest, read_manifest
from vprtrain.data.source import Source
from vprtrain.errors import RunError, UsageError
from vprtrain.files import remove_leftovers, replacing, write_atomic

StrPath = str | os.PathLike[str]

SHARD_BYTES = 512_000_000
"""About how large a shard is; an utterance is never divided."""

_INDEX = "index.tsv"
_PLAN = "plan.json"
_FORM = "KEY<TAB>shard<TAB>offset<TAB>size"


class _Member(NamedTuple):
    """An utterance on its way into a shard."""

    key: str
    path: str
    size: int
    modified: int
    suffix: str
    description: bytes

    @property
    def occupied(self) -> int:
        """Bytes in the tar file: two headers, and both contents in whole blocks."""
        return 2 * tarfile.BLOCKSIZE + _in_blocks(self.size) + _in_blocks(len(self.description))


@dataclass(frozen=True, kw_only=True)
class _Members:
    """A manifest's utterances, each made a member when it is asked for: a million of them would
    take 500 MB."""

    manifest: Manifest
    sizes: array[int]
    modified: array[int]

    def __len__(self) -> int:
        return len(self.sizes)

    def __getitem__(self, index: int) -> _Member:
        utterance = self.manifest[index]
        description = {
            "path": self.manifest.written_paths[index],
            "speaker": utterance.speaker,
            "label": int(self.manifest.labels[index]),
            "seconds": utterance.duration,
        }
        return _Member(
            key=f"{index:08d}",
            path=utterance.path,
            size=self.sizes[index],
            modified=self.modified[index],
            suffix=os.path.splitext(utterance.path)[1].lower() or ".audio",
            description=_as_json(description),
        )

    def take(self, places: range) -> Iterator[_Member]:
        return map(self.__getitem__, places)


def pack(
    manifest: StrPath, folder: StrPath, *, workers: int = 4, shard_bytes: int = SHARD_BYTES
) -> int:
    """Pack a manifest's recordings into shards, and give their number.

    A second run, after one that was broken off, packs the shards that are missing. Each appears
    complete or not at all, and the index when all are there.

    Raises:
        UsageError: the folder holds shards of something else.
        RunError: a recording changed while it was packed.
    """
    folder, utterances = Path(folder), read_manifest(manifest)
    members = _members(utterances, workers)
    _claim(folder, members)
    shards = list(_divide(members, shard_bytes))
    jobs = [(folder / f"train-{number:06d}.tar", shard) for number, shard in enumerate(shards)]
    missing = [job for job in jobs if not job[0].exists()]

    def write(job: tuple[Path, range]) -> None:
        path, shard = job
        _write_shard(path, members.take(shard))

    packed = load_in_order(write, missing, workers=workers, prefetch=2 * workers)
    for _ in tqdm(packed, total=len(missing), desc="packing", unit="shard"):
        pass
    with replacing(folder / _INDEX) as temporary, open(temporary, "w", encoding="utf-8") as file:
        for path, shard in jobs:
            for member, offset in _with_offsets(members.take(shard)):
                file.write(f"{member.key}\t{path.name}\t{offset}\t{member.size}\n")
    plan = json.loads((folder / _PLAN).read_text(encoding="utf-8"))
    write_atomic(folder / _PLAN, _as_json({**plan, "manifest_sha256": utterances.sha256}))
    return len(shards)


class ShardSource(Source):
    """A manifest's utterances, read out of shards by their offsets: the same samples, bit for bit,
    as from files.

    Raises :class:`UsageError` where the folder holds no complete shards of this manifest.
    """

    def __init__(
        self, *, manifest: Manifest, folder: StrPath, sample_rate: int, channel: int = 0
    ) -> None:
        super().__init__(manifest=manifest, sample_rate=sample_rate, channel=channel)
        folder = Path(folder)
        if not (folder / _INDEX).is_file() or not (folder / _PLAN).is_file():
            raise UsageError(
                f"{folder}: no {_INDEX} and {_PLAN}; expected the folder that prepare --shards filled"
            )
        plan = json.loads((folder / _PLAN).read_text(encoding="utf-8"))
        packed = plan.get("manifest_sha256", "unknown, packing was broken off")
        if packed != manifest.sha256:
            raise UsageError(
                f"{folder}: shards of another manifest (sha256 {packed}) than {manifest.path} ({manifest.sha256}); "
                "prepare --shards packs it again"
            )
        self._shards, self._shard, self._offset, self._size = _read_index(folder / _INDEX)
        missing = [path for path in self._shards if not os.path.isfile(path)]
        if missing:
            raise UsageError(
                f"{missing[0]}: no such file, but the index names it ({len(missing)} shards are missing)"
            )

    def locate(self, index: int) -> ByteRange:
        return ByteRange(
            self._shards[self._shard[index]], int(self._offset[index]), int(self._size[index])
        )


def _members(manifest: Manifest, workers: int) -> _Members:
    def status(index: int) -> os.stat_result:
        return os.stat(manifest[index].path)

    sizes, modified = array("q"), array("q")
    for found in load_in_order(
        status, range(len(manifest)), workers=workers, prefetch=64 * workers
    ):
        sizes.append(found.st_size)
        modified.append(found.st_mtime_ns)
    return _Members(manifest=manifest, sizes=sizes, modified=modified)


def _claim(folder: Path, members: _Members) -> None:
    """Write the plan, unless these very recordings were begun to be packed."""
    digest = hashlib.sha256()
    for member in members.take(range(len(members))):
        digest.update(repr(member).encode())
    plan = folder / _PLAN
    if plan.exists():
        if json.loads(plan.read_text(encoding="utf-8"))["sha256"] != digest.hexdigest():
            raise UsageError(
                f"{folder} holds shards of other recordings, or of these before they or the manifest changed; "
                "delete it or choose another folder"
            )
        return
    folder.mkdir(parents=True, exist_ok=True)
    remove_leftovers(folder)
    if any(folder.iterdir()):
        raise UsageError(f"{folder} is not empty and holds no shards; choose another folder")
    write_atomic(plan, _as_json({"sha256": digest.hexdigest()}))


def _divide(members: _Members, shard_bytes: int) -> Iterator[range]:
    """Which members each shard holds."""
    start = filled = 0
    for index in range(len(members)):
        occupied = members[index].occupied
        if index > start and filled + occupied > shard_bytes:
            yield range(start, index)
            start, filled = index, 0
        filled += occupied
    yield range(start, len(members))


def _with_offsets(shard: Iterable[_Member]) -> Iterator[tuple[_Member, int]]:
    """The members, and where in the tar file the audio of each begins."""
    place = 0
    for member in shard:
        yield member, place + tarfile.BLOCKSIZE
        place += member.occupied


def _write_shard(path: Path, shard: Iterable[_Member]) -> None:
    with (
        replacing(path) as temporary,
        tarfile.open(temporary, "w", format=tarfile.USTAR_FORMAT) as tar,
    ):
        for member in shard:
            with open(member.path, "rb") as file:
                status = os.fstat(file.fileno())
                if (status.st_size, status.st_mtime_ns) != (member.size, member.modified):
                    raise RunError(f"{member.path}: changed while it was packed; prepare again")
                tar.addfile(_entry(member.key + member.suffix, member.size), file)
            tar.addfile(
                _entry(f"{member.key}.json", len(member.description)),
                io.BytesIO(member.description),
            )


def _entry(name: str, size: int) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.size = size
    return entry


def _read_index(path: Path) -> tuple[list[str], np.ndarray, np.ndarray, np.ndarray]:
    """The shards' paths; of every utterance, the place of its shard among them, its offset and its
    size."""
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
                    f"{path}, line {number + 1}: expected {_FORM}, found {line[:200]!r}"
                ) from error
            places.append(shards.setdefault(shard, len(shards)))
    shard_of = np.frombuffer(places, dtype=np.int32)
    offset_of, size_of = (np.frombuffer(column, dtype=np.int64) for column in (offsets, sizes))
    return [str(path.parent / name) for name in shards], shard_of, offset_of, size_of


def _in_blocks(size: int) -> int:
    return -(-size // tarfile.BLOCKSIZE) * tarfile.BLOCKSIZE


def _as_json(content: dict[str, Any]) -> bytes:
    return json.dumps(content, ensure_ascii=False).encode()
