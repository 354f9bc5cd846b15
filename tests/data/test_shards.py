"""Shards: their content, samples equal to those from files, and interrupted packing."""

from __future__ import annotations

import json
import os
import shutil
import tarfile
import tracemalloc
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from vprtrain.data import packing
from vprtrain.data.augmentation import SpeedPerturbation, Volume
from vprtrain.data.manifest import read_manifest, write_manifest
from vprtrain.data.packing import pack
from vprtrain.data.reading import Reading
from vprtrain.data.shards import ShardSource
from vprtrain.data.source import Source
from vprtrain.errors import RunError, UsageError
from vprtrain.speaker.data import SpeakerBatch, SpeakerData

SHARD_BYTES = 100_000  # recordings have 22 kB to 90 kB, so there are several shards


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    """Twelve utterances of three speakers in four formats; names have several dots and a space."""
    rows: list[tuple[str, str, float | None]] = []
    rng = np.random.default_rng(0)
    for index in range(12):
        suffix = ("wav", "flac", "ogg", "mp3")[index % 4]
        name = f"v1.0 {index}.{suffix.upper() if index == 5 else suffix}"
        seconds = 0.7 + 0.2 * index
        soundfile.write(
            tmp_path / name, rng.normal(0, 0.1, round(16000 * seconds)), 16000, format=suffix
        )
        rows.append((name, f"s{index % 3}", seconds if index else None))
    write_manifest(tmp_path / "train.tsv", rows)
    return tmp_path / "train.tsv"


@pytest.fixture
def packed(manifest: Path) -> Path:
    folder = manifest.parent / "shards"
    assert pack(manifest, folder, workers=2, shard_bytes=SHARD_BYTES) > 3
    return folder


def files_below(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_recordings_are_read_as_from_files(manifest: Path, packed: Path) -> None:
    utterances = read_manifest(manifest)
    from_files = Source(manifest=utterances, reading=Reading(sample_rate=8000))
    from_shards = ShardSource(manifest=utterances, folder=packed, reading=Reading(sample_rate=8000))
    for index in range(len(utterances)):
        assert from_shards.seconds(index) == from_files.seconds(index)
        for part in ((0.0, 10.0), (0.13, 0.4), (0.5, 0.31)):
            np.testing.assert_array_equal(
                from_shards.read(index, *part), from_files.read(index, *part)
            )


def stream(data: SpeakerData) -> list[SpeakerBatch]:
    """Two epochs, and the second one again from its third batch."""
    return [
        batch
        for epoch, start in ((0, 0), (1, 0), (1, 2))
        for batch in data.train_batches(epoch, start)
    ]


@pytest.mark.parametrize(("workers", "prefetch"), [(0, 1), (1, 8), (4, 2)])
def test_batches_are_the_same_bit_for_bit(
    manifest: Path, packed: Path, workers: int, prefetch: int
) -> None:
    options = {
        "train_manifest": manifest,
        "batch_size": 4,
        "crop_seconds": (0.5, 0.9),
        "speed_perturbation": SpeedPerturbation(),
        "augmentations": [Volume(probability=0.5)],
    }
    straight = SpeakerData.from_files(**options, workers=0)
    sharded = SpeakerData.from_files(**options, shards=packed, workers=workers, prefetch=prefetch)
    for path in manifest.parent.glob("v1.0 *"):
        path.rename(path.with_suffix(path.suffix + ".away"))  # only the shards can be read
    from_shards = stream(sharded)
    for path in manifest.parent.glob("*.away"):
        path.rename(path.with_suffix(""))
    for ours, theirs in zip(from_shards, stream(straight), strict=True):
        np.testing.assert_array_equal(ours.waveforms, theirs.waveforms)
        np.testing.assert_array_equal(ours.labels, theirs.labels)
    assert straight.fingerprint() == sharded.fingerprint()


def test_a_shard_is_a_plain_tar_file_of_pairs(manifest: Path, packed: Path) -> None:
    utterances = read_manifest(manifest)
    names, seen = sorted(path.name for path in packed.glob("*.tar")), 0
    assert names == [f"train-{number:06d}.tar" for number in range(len(names))]
    for name in names:
        with tarfile.open(packed / name) as tar:
            members = tar.getmembers()
            assert sum(member.size for member in members) < SHARD_BYTES
            for audio, description in zip(members[::2], members[1::2], strict=True):
                key, _, suffix = audio.name.partition(".")
                utterance = utterances[int(key)]
                assert int(key) == seen and description.name == f"{key}.json"
                assert f".{suffix}" == Path(utterance.path).suffix.lower()
                assert tar.extractfile(audio).read() == Path(utterance.path).read_bytes()
                told = json.loads(tar.extractfile(description).read())
                assert (told["speaker"], told["seconds"]) == (utterance.speaker, utterance.duration)
                assert (told["label"], told["path"]) == (
                    utterances.labels[seen],
                    Path(utterance.path).name,
                )
                seen += 1
    assert seen == len(utterances)


def test_webdataset_reads_them(manifest: Path, packed: Path) -> None:
    webdataset = pytest.importorskip("webdataset", reason="webdataset is not installed")
    urls = sorted(map(str, packed.glob("*.tar")))
    samples = list(webdataset.WebDataset(urls, shardshuffle=False).decode())
    utterances = read_manifest(manifest)
    assert [sample["__key__"] for sample in samples] == [f"{index:08d}" for index in range(12)]
    assert [sample["json"]["label"] for sample in samples] == list(utterances.labels)
    assert samples[0]["wav"] == Path(utterances[0].path).read_bytes()


def test_interrupted_packing_is_continued(
    manifest: Path, packed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = files_below(packed)
    again = manifest.parent / "again"
    written: list[str] = []
    write_shard = packing._write_shard

    def interrupted(path: Path, shard: Iterable[packing._Member]) -> None:
        if len(written) == 2:
            (path.parent / f".tmp-{path.name}").write_bytes(b"half")
            raise KeyboardInterrupt
        written.append(path.name)
        write_shard(path, shard)

    monkeypatch.setattr(packing, "_write_shard", interrupted)
    with pytest.raises(KeyboardInterrupt):
        pack(manifest, again, workers=0, shard_bytes=SHARD_BYTES)
    with pytest.raises(UsageError, match=r"index\.tsv or plan\.json is missing"):
        ShardSource(manifest=read_manifest(manifest), folder=again)
    kept = {name: (again / name).stat().st_mtime_ns for name in written}
    monkeypatch.setattr(packing, "_write_shard", write_shard)
    pack(manifest, again, shard_bytes=SHARD_BYTES)
    assert files_below(again) == whole
    assert {name: (again / name).stat().st_mtime_ns for name in kept} == kept


def test_shards_without_a_complete_plan_must_be_packed_again(
    manifest: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Interrupted after the index, before the plan has the manifest's digest."""
    folder = manifest.parent / "shards"
    write_atomic = packing.write_atomic

    def interrupted(path: Path, data: bytes) -> None:
        if b"manifest_sha256" in data:
            raise KeyboardInterrupt
        write_atomic(path, data)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(packing, "write_atomic", interrupted)
        pack(manifest, folder)
    with pytest.raises(
        UsageError, match=r"unknown: packing was interrupted.* pack it again with prepare --shards"
    ):
        ShardSource(manifest=read_manifest(manifest), folder=folder)
    pack(manifest, folder)
    ShardSource(manifest=read_manifest(manifest), folder=folder)


def test_an_utterance_takes_two_numbers_until_it_is_packed(manifest: Path) -> None:
    """A million descriptions made in advance would take 500 MB."""
    name = read_manifest(manifest).written_paths[0]
    many = manifest.with_name("many.tsv")
    write_manifest(many, [(name, "s0", 1.0)] * 10_000)
    utterances = read_manifest(many)
    tracemalloc.start()
    members = packing._members(utterances, 0)
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(members) == 10_000 and held < 50 * len(members)


def test_shards_of_something_else_are_refused(manifest: Path, packed: Path, tmp_path: Path) -> None:
    other = manifest.with_name("other.tsv")
    shutil.copy(manifest, other)
    with open(other, "a") as file:
        file.write("v1.0 1.flac\ts1\n")
    with pytest.raises(UsageError, match=r"shards of another manifest .* than .*other\.tsv"):
        ShardSource(manifest=read_manifest(other), folder=packed)
    with pytest.raises(UsageError, match="holds shards of other recordings"):
        pack(other, packed)
    with pytest.raises(UsageError, match="is not empty and holds no shards"):
        pack(manifest, tmp_path)
    (packed / "train-000001.tar").unlink()
    with pytest.raises(
        UsageError, match=r"train-000001\.tar: no such file, but index\.tsv names it \(1 shards"
    ):
        ShardSource(manifest=read_manifest(manifest), folder=packed)
    (packed / "index.tsv").write_text("00000001\ttrain-000000.tar\t512\t9\n")
    with pytest.raises(
        UsageError, match=r"index\.tsv, line 1: expected KEY<TAB>shard<TAB>offset<TAB>size"
    ):
        ShardSource(manifest=read_manifest(manifest), folder=packed)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("00000000\t../train-000000.tar\t512\t9", "line 1: expected KEY<TAB>shard"),
        ("00000000\t/dev/zero\t512\t9", "line 1: expected KEY<TAB>shard"),
        ("00000000\ttrain-000000.tar\t-1\t9", "utterance 0: 9 bytes from -1 on, but"),
        ("00000000\ttrain-000000.tar\t512\t-9", "utterance 0: -9 bytes from 512 on, but"),
        (f"00000000\ttrain-000000.tar\t512\t{2**63 - 1}", "utterance 0: .* has [0-9]+ bytes"),
        (f"00000000\ttrain-000000.tar\t512\t{2**63}", "line 1: expected KEY<TAB>shard"),
        ("00000000\ttrain-000000.tar\t512\t" + "9" * 5000, "line 1: expected KEY<TAB>shard"),
    ],
)
def test_an_index_that_leads_elsewhere_is_refused(
    manifest: Path, packed: Path, line: str, said: str
) -> None:
    index = packed / "index.tsv"
    _, *others = index.read_text().splitlines()
    index.write_text("\n".join([line, *others]))
    with pytest.raises(UsageError, match=rf"index\.tsv, {said}"):
        ShardSource(manifest=read_manifest(manifest), folder=packed)


@pytest.mark.parametrize("count", [0, 11, 13, 100])
def test_an_index_of_another_length_is_refused(manifest: Path, packed: Path, count: int) -> None:
    line = "{:08d}\ttrain-000000.tar\t512\t9\n"
    (packed / "index.tsv").write_text("".join(map(line.format, range(count))))
    with pytest.raises(UsageError, match=rf"index\.tsv: {count} lines, expected one for each"):
        ShardSource(manifest=read_manifest(manifest), folder=packed)


def test_a_pipe_in_the_place_of_a_file_is_refused(manifest: Path, packed: Path) -> None:
    for name, said in (
        ("index.tsv", "not a file"),
        ("plan.json", "is not a plan of shards"),
        ("train-000000.tar", "no such file"),
    ):
        content = (packed / name).read_bytes()
        (packed / name).unlink()
        os.mkfifo(packed / name)
        with pytest.raises(UsageError, match=said):
            ShardSource(manifest=read_manifest(manifest), folder=packed)
        (packed / name).unlink()
        (packed / name).write_bytes(content)
    ShardSource(manifest=read_manifest(manifest), folder=packed)


@pytest.mark.parametrize(
    "plan", ["", "[]", "{}", '{"sha256": 1}', '{"sha256": NaN}', "[" * 10_000, "\xff" * 100_000]
)
def test_another_plan_is_refused(manifest: Path, packed: Path, plan: str) -> None:
    (packed / "plan.json").write_text(plan, encoding="latin-1")
    for use in (
        lambda: ShardSource(manifest=read_manifest(manifest), folder=packed),
        lambda: pack(manifest, packed, workers=0, shard_bytes=SHARD_BYTES),
    ):
        with pytest.raises(UsageError, match=r"plan\.json is not a plan of shards"):
            use()


def test_recordings_that_cannot_be_packed_are_named(manifest: Path) -> None:
    for path, said in (
        (manifest.parent / "v1.0 3.mp3", "not a regular file"),
        (manifest.parent / "v1.0 2.ogg", "No such file"),
    ):
        path.unlink()
        if "regular" in said:
            os.mkfifo(path)
        with pytest.raises(UsageError, match=rf"{path.name}: {said}"):
            pack(manifest, manifest.parent / "shards", workers=0)


def test_a_long_suffix_fits_into_a_tar_file(manifest: Path) -> None:
    utterances = read_manifest(manifest)
    name = f"v1.0 0.{'x' * 200}"
    os.rename(utterances[0].path, manifest.parent / name)
    write_manifest(manifest, [(name, "s0", None)])
    pack(manifest, manifest.parent / "shards", workers=0)
    source = ShardSource(manifest=read_manifest(manifest), folder=manifest.parent / "shards")
    assert len(source.read(0, 0.0, 0.5)) == 8000


def test_a_recording_that_changes_meanwhile_is_noticed(
    manifest: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    claim = packing._claim

    def changes(folder: Path, members: packing._Members) -> None:
        claim(folder, members)
        Path(members[3].path).write_bytes(b"another")

    monkeypatch.setattr(packing, "_claim", changes)
    with pytest.raises(RunError, match=r"v1\.0 3\.mp3: changed while it was packed"):
        pack(manifest, manifest.parent / "shards")
    assert not list(manifest.parent.glob("shards/*.tar"))
