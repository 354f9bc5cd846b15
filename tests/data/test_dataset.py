from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from vprtrain.data.audio import AudioError
from vprtrain.data.dataset import TrainingCrops, fill
from vprtrain.data.manifest import read_manifest, write_manifest


@pytest.fixture
def manifest_path(tmp_path: Path) -> Path:
    """Two speakers; every sample of an utterance tells its place, so that a crop shows where it was taken."""
    rows = []
    for index, seconds in enumerate((4.0, 2.5, 0.7, 4.0)):
        ramp = np.arange(round(16000 * seconds)) / 2**17
        soundfile.write(tmp_path / f"{index}.wav", ramp, 16000, subtype="FLOAT")
        rows.append((f"{index}.wav", f"speaker{index % 2}", seconds if index < 3 else None))
    write_manifest(tmp_path / "m.tsv", rows)
    return tmp_path / "m.tsv"


def crops(path: Path, *, seed: int = 0, crop_seconds: float = 2.0) -> TrainingCrops:
    return TrainingCrops(manifest=read_manifest(path), crop_seconds=crop_seconds, sample_rate=16000, seed=seed)


def test_a_crop_is_a_part_of_the_utterance(manifest_path: Path) -> None:
    dataset = crops(manifest_path)
    starts = set()
    for epoch in range(30):
        waveform, label = dataset.sample(epoch, 0)
        assert label == 0 and waveform.shape == (32000,) and waveform.dtype == np.float32
        start = round(float(waveform[0]) * 2**17)
        np.testing.assert_array_equal(waveform, (np.arange(start, start + 32000) / 2**17).astype(np.float32))
        starts.add(start)
    assert len(starts) == 30
    assert min(starts) < 8000 and max(starts) > 24000


def test_a_sample_is_a_function_of_seed_epoch_and_index(manifest_path: Path) -> None:
    first, second = crops(manifest_path), crops(manifest_path)
    second.sample(5, 1)
    np.testing.assert_array_equal(first.sample(1, 0).waveform, second.sample(1, 0).waveform)
    others = [first.sample(2, 0), first.sample(1, 3), crops(manifest_path, seed=1).sample(1, 0)]
    assert not any(np.array_equal(first.sample(1, 0).waveform, other.waveform) for other in others)


def test_an_utterance_without_a_duration_is_cropped_as_one_with(manifest_path: Path) -> None:
    starts = [float(crops(manifest_path).sample(epoch, 3).waveform[0]) for epoch in range(20)]
    assert max(starts) * 2**17 > 20000


def test_a_short_utterance_is_repeated(manifest_path: Path) -> None:
    waveform = crops(manifest_path).sample(0, 2).waveform
    assert len(waveform) == 32000
    np.testing.assert_array_equal(waveform, np.resize(waveform[:11200], 32000))
    assert waveform[11199] > 0 and waveform[11200] == 0


def test_a_broken_file_is_named(manifest_path: Path) -> None:
    (manifest_path.parent / "1.wav").write_text("not audio")
    with pytest.raises(AudioError, match=r"1\.wav: cannot be decoded"):
        crops(manifest_path).sample(0, 1)


@given(length=st.integers(1, 50), samples=st.integers(1, 200))
def test_fill_repeats_and_never_cuts(length: int, samples: int) -> None:
    filled = fill(np.arange(length), samples)
    assert len(filled) == max(length, samples)
    np.testing.assert_array_equal(filled, np.arange(len(filled)) % length)
