"""The speaker side of ``model.state``: new and old checkpoints are read, hostile ones refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from small_checkpoint import write_checkpoint

from vprtrain.checkpoint.file_names import CONFIG_FILE
from vprtrain.checkpoint.snapshot import Snapshot
from vprtrain.checkpoint.state import CheckpointState
from vprtrain.checkpoint.state_file import SavedCheckpoint, open_checkpoint
from vprtrain.errors import CheckpointError
from vprtrain.speaker.state import AudioFormat, SpeakerState, audio_format, configured_data

OLD_RUN = Path(__file__).parents[1] / "compatibility/checkpoint_0_1/models/TDNN_Fbank/step_6"
FEATURE = {"class_path": "vprtrain.features.Fbank", "init_args": {"sample_rate": 22050}}


def saved(folder: Path, own: dict[str, Any], config: str = "seed: 1\n") -> SavedCheckpoint:
    """A checkpoint without arrays."""
    state = CheckpointState(own=own)
    Snapshot(name="x", state=state, texts={CONFIG_FILE: config}).save(folder)
    return open_checkpoint(folder)


@pytest.fixture
def checkpoint(tmp_path: Path) -> SavedCheckpoint:
    return open_checkpoint(write_checkpoint(tmp_path / "epoch_1", threshold=0.4))


def test_the_view_has_the_modules_keys(checkpoint: SavedCheckpoint) -> None:
    state = SpeakerState.of(checkpoint)
    assert state.model["class_path"] == "vprtrain.models.TDNN"
    assert state.feature["init_args"]["n_mels"] == 24
    assert state.loss is not None and state.loss["class_path"] == "vprtrain.losses.AAMLoss"
    assert (state.num_classes, state.num_speakers, state.class_share) == (4, 4, 1.0)
    assert (state.margin, state.threshold) == (0.2, 0.4)


def test_in_early_checkpoints_each_speaker_is_a_class(checkpoint: SavedCheckpoint) -> None:
    own = {key: value for key, value in checkpoint.state.own.items() if key != "num_classes"}
    early = replace(checkpoint, state=replace(checkpoint.state, own=own))
    assert SpeakerState.of(early).num_classes == 4


@pytest.mark.parametrize(
    ("key", "value"),
    [
        *((key, value) for key in ("model", "feature") for value in (None, 1, "TDNN", [], {})),
        ("model", {"class_path": 1, "init_args": {}}),
        ("feature", {"class_path": "a.B", "init_args": []}),
        *(("loss", value) for value in (1, [], {"class_path": "a.B"})),
        *((key, value) for key in ("num_classes", "num_speakers") for value in (0, True, 1.0, "4")),
        *(("margin", value) for value in ("0.2", [], True)),
        *(("synthetic_voices", value) for value in (1, "true", None)),
        *(("head", value) for value in (1, {}, {"class_share": 0.0}, {"class_share": 1.5})),
    ],
)
def test_a_value_of_another_kind_is_refused(
    checkpoint: SavedCheckpoint, key: str, value: object
) -> None:
    own = {**checkpoint.state.own, key: value}
    hostile = replace(checkpoint, state=replace(checkpoint.state, own=own))
    with pytest.raises(CheckpointError, match=rf"model\.state is not .*: its {key} is ") as refusal:
        SpeakerState.of(hostile)
    assert str(checkpoint.folder) in str(refusal.value) and "\n" not in str(refusal.value)


def test_the_audio_format_is_in_the_state(tmp_path: Path) -> None:
    """Then config.yaml is not read."""
    own = {"feature": FEATURE, "sample_rate": 8000, "channel": 1}
    assert audio_format(saved(tmp_path / "new", own, config="data: [")) == AudioFormat(8000, 1)


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ("data: {sample_rate: 8000, channel: 1}", AudioFormat(8000, 1)),
        ("data: {sample_rate: 8000, channel: mix}", AudioFormat(8000, "mix")),
        ("data: {sample_rate: 8000}", AudioFormat(8000, 0)),
        ("data: {sample_rate: null}", AudioFormat(22050, 0)),
        ("seed: 1", AudioFormat(22050, 0)),
    ],
)
def test_before_that_it_is_in_the_configuration_or_the_feature(
    tmp_path: Path, config: str, expected: AudioFormat
) -> None:
    assert audio_format(saved(tmp_path / "old", {"feature": FEATURE}, config)) == expected


def test_a_checkpoint_of_version_0_1_is_read() -> None:
    old = open_checkpoint(OLD_RUN)
    assert audio_format(old) == AudioFormat(16000, 0)
    assert SpeakerState.of(old).threshold == old.state.metrics["threshold"]
    assert configured_data(old)["trials"] == "trials.txt"


@pytest.mark.parametrize(
    ("key", "value"),
    [
        *(("sample_rate", value) for value in (0, -1, 1.5, True, "8000", [])),
        *(("channel", value) for value in (-1, 1.5, True, "8000", [], None)),
    ],
)
def test_an_impossible_format_is_refused(tmp_path: Path, key: str, value: object) -> None:
    own = {"feature": FEATURE, "sample_rate": 16000, "channel": 0, key: value}
    with pytest.raises(CheckpointError, match=rf"model\.state: {key} is .*, expected a whole"):
        audio_format(saved(tmp_path / "new", own))
    config = json.dumps({"data": {key: value}})
    with pytest.raises(CheckpointError, match=rf"config\.yaml: {key} is .*, expected a whole"):
        audio_format(saved(tmp_path / "old", {"feature": FEATURE}, config))


def test_without_any_rate_the_checkpoint_is_refused(tmp_path: Path) -> None:
    own = {"feature": {"class_path": "a.B", "init_args": {}}}
    with pytest.raises(CheckpointError, match="does not say the sample rate"):
        audio_format(saved(tmp_path / "x", own))


def test_the_configuration_of_an_old_run_may_have_aliases(tmp_path: Path) -> None:
    """A writer of YAML makes them of a value that a configuration has twice."""
    config = (
        "data:\n  sample_rate: &rate 8000\n  speed: &speed [0.9, 1.1]\n  more: [*rate, *speed]\n"
    )
    old = saved(tmp_path / "old", {}, config)
    assert audio_format(old).sample_rate == 8000
    assert configured_data(old)["more"] == [8000, [0.9, 1.1]]


@pytest.mark.parametrize("config", ["data: [", "data: 7", "text", "data: " + "[" * 5000])
def test_what_is_no_configuration_is_refused_in_one_line(tmp_path: Path, config: str) -> None:
    with pytest.raises(CheckpointError, match=r"config\.yaml is not ") as refusal:
        configured_data(saved(tmp_path / "x", {}, config))
    assert "\n" not in str(refusal.value)
