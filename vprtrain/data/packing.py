"""Packing a manifest's utterances into shards; :mod:`vprtrain.data.shards` describes the files."""

from __future__ import annotations

import hashlib
import io
import json
import os
import stat
import tarfile
from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from tqdm import tqdm

from vprtrain.data.loader import load_in_order
from vprtrain.data.manifest import Manifest, read_manifest
from vprtrain.data.shards import INDEX, PLAN, read_plan
from vprtrain.errors import RunError, UsageError
from vprtrain.files import StrPath, open_file, remove_leftovers, replacing, write_atomic

SHARD_BYTES = 512_000_000
"""The approximate size of a shard; an utterance is never divided."""


_MOST_MEMBER_BYTES = 8**11  # what a header of a tar file can say
_MOST_SUFFIX_BYTES = 32


class _Member(NamedTuple):
    """An utterance that goes into a shard. The plan holds a digest of its ``repr``, so the names of
    the class and its fields must stay."""

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
    """A manifest's utterances as members. Each is made on request: a million of them would take
    500 MB."""

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
            suffix=_suffix(utterance.path),
            description=_as_json(description),
        )

    def take(self, places: range) -> Iterator[_Member]:
        return map(self.__getitem__, places)


def pack(
    manifest: StrPath, folder: StrPath, *, workers: int = 4, shard_bytes: int = SHARD_BYTES
) -> int:
    """Pack a manifest's recordings into shards.

    A second call, after an interrupted one, packs only the missing shards. Each shard appears
    complete or not at all; the index appears when all shards are complete.

    Returns:
        The number of shards.

    Raises:
        UsageError: the folder holds shards of something else, or a recording is not a file.
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
    for _ in tqdm(packed, total=len(missing), desc="packing", unit="shard", disable=None):
        pass
    with replacing(folder / INDEX) as temporary, open(temporary, "w", encoding="utf-8") as file:
        for path, shard in jobs:
            for member, offset in _with_offsets(members.take(shard)):
                file.write(f"{member.key}\t{path.name}\t{offset}\t{member.size}\n")
    plan = {**read_plan(folder / PLAN), "manifest_sha256": utterances.sha256}
    write_atomic(folder / PLAN, _as_json(plan))
    return len(shards)


def _members(manifest: Manifest, workers: int) -> _Members:
    def status(index: int) -> os.stat_result:
        path = manifest[index].path
        try:
            found = os.stat(path)
        except OSError as error:
            raise UsageError(f"{path}: {error.strerror}; prepare again") from error
        if not stat.S_ISREG(found.st_mode) or found.st_size >= _MOST_MEMBER_BYTES:
            raise UsageError(f"{path}: not a regular file of less than 8 GB; prepare again")
        return found

    sizes, modified = array("q"), array("q")
    for found in load_in_order(
        status, range(len(manifest)), workers=workers, prefetch=64 * workers
    ):
        sizes.append(found.st_size)
        modified.append(found.st_mtime_ns)
    return _Members(manifest=manifest, sizes=sizes, modified=modified)


def _claim(folder: Path, members: _Members) -> None:
    """Write the plan, unless the folder already has the plan of these recordings."""
    digest = hashlib.sha256()
    for member in members.take(range(len(members))):
        digest.update(repr(member).encode())
    plan = folder / PLAN
    if plan.exists():
        if read_plan(plan)["sha256"] != digest.hexdigest():
            raise UsageError(
                f"{folder} holds shards of other recordings, or of these before they or the "
                "manifest changed; delete it or choose another folder"
            )
        return
    folder.mkdir(parents=True, exist_ok=True)
    remove_leftovers(folder)
    if any(folder.iterdir()):
        raise UsageError(f"{folder} is not empty and holds no shards; choose another folder")
    write_atomic(plan, _as_json({"sha256": digest.hexdigest()}))


def _divide(members: _Members, shard_bytes: int) -> Iterator[range]:
    """The members of each shard, as ranges of indices."""
    start = filled = 0
    for index in range(len(members)):
        occupied = members[index].occupied
        if index > start and filled + occupied > shard_bytes:
            yield range(start, index)
            start, filled = index, 0
        filled += occupied
    yield range(start, len(members))


def _with_offsets(shard: Iterable[_Member]) -> Iterator[tuple[_Member, int]]:
    """Each member, with the offset of its audio in the tar file."""
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
            with _opened(member.path) as file:
                status = os.fstat(file.fileno())
                if (status.st_size, status.st_mtime_ns) != (member.size, member.modified):
                    raise RunError(f"{member.path}: changed while it was packed; prepare again")
                tar.addfile(_entry(member.key + member.suffix, member.size), file)
            tar.addfile(
                _entry(f"{member.key}.json", len(member.description)),
                io.BytesIO(member.description),
            )


def _opened(path: str) -> BinaryIO:
    try:
        return open_file(path)
    except OSError as error:
        raise RunError(f"{path}: {error.strerror} while it was packed; prepare again") from error


def _suffix(path: str) -> str:
    """The suffix of a recording's name, for the name in a tar file, which is at most 100 bytes."""
    suffix = os.path.splitext(path)[1].lower()
    return suffix if suffix and len(suffix.encode()) <= _MOST_SUFFIX_BYTES else ".audio"


def _entry(name: str, size: int) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.size = size
    return entry


def _in_blocks(size: int) -> int:
    return -(-size // tarfile.BLOCKSIZE) * tarfile.BLOCKSIZE


def _as_json(content: dict[str, Any]) -> bytes:
    return json.dumps(content, ensure_ascii=False).encode()
