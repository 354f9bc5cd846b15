"""The extractor of a checkpoint: its embeddings, its properties, and what it refuses."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from small_checkpoint import voice, write_checkpoint

from vprtrain.checkpoint.file_names import CONFIG_FILE
from vprtrain.checkpoint.snapshot import Snapshot
from vprtrain.checkpoint.state import CheckpointState
from vprtrain.checkpoint.state_file import open_checkpoint
from vprtrain.data.whole_utterances import EvaluationBatch
from vprtrain.errors import CheckpointError, UsageError
from vprtrain.extractors.opening import open_extractor
from vprtrain.files import point_link
from vprtrain.speaker.module import SpeakerModule


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("extractors") / "epoch_1")


def test_embeddings_are_those_that_validation_computes(folder: Path) -> None:
    extractor = open_extractor(folder)
    waveform = voice(0)
    expected = SpeakerModule.from_checkpoint(open_checkpoint(folder)).embeddings(
        EvaluationBatch(("a",), waveform[np.newaxis])
    )
    found = extractor.embed([waveform])
    assert found.dtype == np.float32 and found.shape == (1, extractor.embedding_dim)
    np.testing.assert_array_equal(found, expected)


def test_a_padded_batch_gives_what_each_waveform_gives_alone(folder: Path) -> None:
    extractor = open_extractor(folder)
    waveforms = [
        voice(number, seconds=seconds) for number, seconds in enumerate((0.6, 1.7, 0.9, 1.7))
    ]
    alone = np.concatenate([extractor.embed([waveform]) for waveform in waveforms])
    np.testing.assert_allclose(extractor.embed(waveforms), alone, rtol=1e-5, atol=1e-5)
    assert np.abs(alone[0] - alone[1]).max() > 1e-2


def test_the_shortest_waveform_is_taken_and_one_sample_less_is_not(folder: Path) -> None:
    extractor = open_extractor(folder)
    waveform = voice(0)[: extractor.min_samples]
    assert np.isfinite(extractor.embed([waveform])).all()
    with pytest.raises(UsageError, match="longer audio"):
        extractor.embed([waveform[1:]])


def test_the_digest_is_that_of_the_weights_in_use(folder: Path, tmp_path: Path) -> None:
    digest = open_extractor(folder).digest
    assert open_extractor(Path(shutil.copytree(folder, tmp_path / "elsewhere"))).digest == digest
    others = [
        write_checkpoint(tmp_path / "seed", seed=1),
        write_checkpoint(tmp_path / "averaged", averaged=True),
        write_checkpoint(tmp_path / "rate", rate=8000),
    ]
    digests = {digest, *(open_extractor(other).digest for other in others)}
    assert len(digests) == 4


def test_averaged_weights_are_taken_where_there_are_some(folder: Path, tmp_path: Path) -> None:
    averaged = open_extractor(write_checkpoint(tmp_path / "averaged", averaged=True))
    assert not np.allclose(
        averaged.embed([voice(0)]), open_extractor(folder).embed([voice(0)]), atol=1e-2
    )


def test_a_run_directory_means_its_best_model(folder: Path, tmp_path: Path) -> None:
    for name, seed in (("epoch_1", 1), ("epoch_2", 2)):
        write_checkpoint(tmp_path / name, seed=seed)
    point_link(tmp_path / "best_model", "epoch_1")
    point_link(tmp_path / "last_model", "epoch_2")
    assert open_extractor(tmp_path).digest == open_extractor(tmp_path / "epoch_1").digest


@pytest.mark.parametrize(("rate", "expected"), [(8000, 8000), (None, 16000)])
def test_the_sample_rate_is_that_of_the_run_else_of_the_feature(
    tmp_path: Path, rate: int | None, expected: int
) -> None:
    assert open_extractor(write_checkpoint(tmp_path / "epoch_1", rate=rate)).sample_rate == expected


@pytest.mark.parametrize(
    "config", ["data: [", "data: 7", "data: {sample_rate: fast}", "data: {sample_rate: -1}"]
)
def test_a_config_that_makes_no_sense_is_refused(folder: Path, tmp_path: Path, config: str) -> None:
    saved = open_checkpoint(folder)
    own = {key: value for key, value in saved.state.own.items() if key != "sample_rate"}
    state = replace(saved.state, own=own)
    arrays = {"model.pdparams": saved.arrays("model.pdparams")}
    snapshot = Snapshot(name="x", state=state, arrays=arrays, texts={CONFIG_FILE: config})
    snapshot.save(tmp_path / "x")
    with pytest.raises(CheckpointError, match=r"config\.yaml"):
        open_extractor(tmp_path / "x")


def test_what_holds_no_model_and_devices_that_are_not_there(folder: Path, tmp_path: Path) -> None:
    Snapshot(name="x", state=CheckpointState(), texts={CONFIG_FILE: ""}).save(tmp_path / "x")
    with pytest.raises(CheckpointError, match="holds no model"):
        open_extractor(tmp_path / "x")
    with pytest.raises(UsageError, match="not a checkpoint"):
        open_extractor(tmp_path / "nowhere")
    with pytest.raises(UsageError, match="device is 'toaster'"):
        open_extractor(folder, "toaster")
