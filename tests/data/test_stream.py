"""The stream of training batches depends on the seed, the epoch and the position only, and needs no
growing memory."""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from vprtrain.data.augmentation import (
    AdditiveNoise,
    OneOf,
    Reverberation,
    SilenceTrimming,
    SpeedPerturbation,
    Volume,
)
from vprtrain.data.manifest import write_manifest
from vprtrain.data.packing import pack
from vprtrain.speaker.data import SpeakerBatch, SpeakerData

UTTERANCES, BATCH = 40, 4
BATCHES = UTTERANCES // BATCH
EPOCHS = 2


@pytest.fixture(scope="module")
def arguments(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """40 utterances, three of them bad, with everything that draws random numbers."""
    folder = tmp_path_factory.mktemp("stream")
    rng = np.random.default_rng(0)

    def write(name: str, seconds: float, rate: int = 16000) -> None:
        soundfile.write(folder / name, rng.normal(0, 0.1, round(rate * seconds)), rate)

    rows = []
    for index in range(UTTERANCES):
        seconds = 0.6 + 0.05 * index
        name = f"{index}.{'flac' if index % 2 else 'wav'}"
        write(name, seconds, 8000 if index % 5 == 0 else 16000)
        rows.append((name, f"speaker{index % 4}", seconds if index % 3 else None))
    (folder / "6.wav").write_text("not audio")
    (folder / "7.flac").write_bytes(b"")
    soundfile.write(folder / "20.wav", np.zeros(16000), 16000)
    write_manifest(folder / "train.tsv", rows)
    for name in ("noise", "voice", "room"):
        write(f"{name}.wav", 0.4)
    noises = [
        ("noise.wav", "noise", None),
        ("voice.wav", "speech", 0.4),
        ("torn.wav", "music", None),
    ]
    write_manifest(folder / "musan.tsv", noises)
    write_manifest(folder / "rirs.tsv", [("room.wav", "smallroom", None)])
    pack(folder / "train.tsv", folder / "shards", workers=1, shard_bytes=300_000)
    noise = AdditiveNoise(manifest=str(folder / "musan.tsv"), probability=1)
    room = Reverberation(manifest=str(folder / "rirs.tsv"), probability=1)
    return {
        "train_manifest": folder / "train.tsv",
        "batch_size": BATCH,
        "crop_seconds": (0.5, 0.9),
        "speed_perturbation": SpeedPerturbation(),
        "augmentations": [
            SilenceTrimming(),
            OneOf(choices=[noise, room], probability=0.8),
            Volume(probability=0.5),
        ],
        "max_bad_share": 0.1,
    }


@pytest.fixture(scope="module")
def expected(arguments: dict[str, Any]) -> list[list[SpeakerBatch]]:
    data = SpeakerData.from_files(**arguments, workers=0)
    epochs = [list(data.train_batches(epoch, 0)) for epoch in range(EPOCHS)]
    assert data.counts() == {"bad recordings": 4}
    return epochs


def assert_same(batches: Iterable[SpeakerBatch], expected: Iterable[SpeakerBatch]) -> None:
    for batch, other in zip(batches, expected, strict=True):
        np.testing.assert_array_equal(batch.waveforms, other.waveforms)
        np.testing.assert_array_equal(batch.labels, other.labels)


@settings(max_examples=25, deadline=None)
@given(
    workers=st.sampled_from([0, 1, 2, 4]),
    prefetch=st.integers(1, 8),
    sharded=st.booleans(),
    epoch=st.integers(0, EPOCHS - 1),
    start=st.integers(0, BATCHES),
)
def test_the_same_however_it_is_read_and_wherever_it_begins(
    arguments: dict[str, Any],
    expected: list[list[SpeakerBatch]],
    workers: int,
    prefetch: int,
    sharded: bool,
    epoch: int,
    start: int,
) -> None:
    shards = arguments["train_manifest"].parent / "shards" if sharded else None
    data = SpeakerData.from_files(**arguments, shards=shards, workers=workers, prefetch=prefetch)
    assert_same(data.train_batches(epoch, start), expected[epoch][start:])


@pytest.mark.parametrize("sharded", [False, True])
def test_the_same_from_worker_processes(
    arguments: dict[str, Any], expected: list[list[SpeakerBatch]], sharded: bool
) -> None:
    shards = arguments["train_manifest"].parent / "shards" if sharded else None
    data = SpeakerData.from_files(**arguments, shards=shards, workers=2, worker_processes=True)
    for epoch, start in ((0, 0), (1, 3)):
        assert_same(data.train_batches(epoch, start), expected[epoch][start:])
    assert data.counts() == {"bad recordings": 4}


def test_bad_utterances_bear_the_same_names_in_shards(
    arguments: dict[str, Any], tmp_path: Path
) -> None:
    named = []
    for shards in (None, arguments["train_manifest"].parent / "shards"):
        data = SpeakerData.from_files(**arguments, shards=shards)
        data.setup(tmp_path, resumed=False)
        for epoch in range(EPOCHS):
            list(data.train_batches(epoch, 0))
        named.append(
            [line.split("\t")[0] for line in (tmp_path / "bad_audio.tsv").read_text().splitlines()]
        )
    assert named[0] == named[1]
    assert {Path(path).name for path in named[0]} == {"6.wav", "7.flac", "20.wav", "torn.wav"}


def kilobytes() -> float:
    """The resident memory of this process."""
    (line,) = [
        line
        for line in Path("/proc/self/status").read_text().splitlines()
        if line.startswith("VmRSS")
    ]
    return float(line.split()[1])


@pytest.mark.slow
def test_memory_stays_flat_over_epochs(arguments: dict[str, Any]) -> None:
    data = SpeakerData.from_files(**arguments, workers=2)
    traced, resident = [], []
    tracemalloc.start()
    try:
        for epoch in range(0, 60, 15):  # the first epoch fills caches
            for number in range(epoch, epoch + 15):
                for _ in data.train_batches(number, 0):
                    pass
            gc.collect()
            traced.append(tracemalloc.get_traced_memory()[0])
            resident.append(kilobytes())
    finally:
        tracemalloc.stop()
    assert traced[-1] - traced[0] < 100_000
    # Allocators keep some memory, more so after other tests in this process.
    assert resident[-1] - resident[0] < 24_000
