"""The record that ``model.state`` holds: written and read without loss, derived, and checked."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vprtrain import __version__
from vprtrain.checkpoint.state import BestRecord, CheckpointState, RunningLoss
from vprtrain.checkpoint.state_file import (
    STATE_FILE,
    encode_state,
    read_content,
    read_state,
    with_state,
)
from vprtrain.errors import CheckpointError, UsageError

OLD_RUN = Path(__file__).parents[1] / "compatibility/checkpoint_0_1/models/TDNN_Fbank/step_6"
DIGEST = "0f" * 32
STATE = CheckpointState(
    own={"model": {"class_path": "a.B", "init_args": {}}, "sample_rate": 16000},
    last_epoch=2,
    step=30,
    batch_in_epoch=4,
    validation_pending=True,
    metrics={"eer": 0.1, "min_dcf": 0.5, "threshold": 0.3},
    metrics_step=25,
    learning_rate=0.01,
    seed=7,
    world_size=2,
    running_loss=RunningLoss(1.5, 3),
    callbacks={"EMA": {"n": 3}},
    config_sha256=DIGEST,
    data_sha256=DIGEST,
    fingerprint={"config": {"seed": 7}, "data": {}},
    metrics_offset=99,
    best=BestRecord("eer", 0.05, 20),
    extra={"note": [1, None]},
    files={"config.yaml": DIGEST},
)
KEYS = [
    *("schema", "version", "model", "sample_rate", "last_epoch", "step", "batch_in_epoch"),
    *("validation_pending", "eer", "min_dcf", "threshold", "eer_step", "learning_rate", "seed"),
    *("world_size", "running_loss", "callbacks", "config_sha256", "data_sha256", "fingerprint"),
    *("metrics_offset", "best_eer", "best_step", "note", "files"),
]

counts = st.integers(0, 2**63 - 1)
numbers = st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(10**20), 10**20)
digests = st.text("0123456789abcdef", min_size=64, max_size=64)
names = st.text(st.characters(exclude_categories=["Cs"]))
values = st.recursive(
    st.none() | st.booleans() | st.integers() | numbers | names,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3),
    max_leaves=6,
)
objects = st.dictionaries(names, values, max_size=3)


@st.composite
def states(draw: st.DrawFn) -> CheckpointState:
    """Any record that can be written: no key is used twice."""
    keys = draw(st.lists(names | st.sampled_from(KEYS), max_size=8, unique=True))
    first, second = sorted((draw(st.integers(0, len(keys))), draw(st.integers(0, len(keys)))))
    metrics = {key: draw(st.none() | numbers) for key in keys[first:second]}
    monitored = draw(st.none() | st.sampled_from(list(metrics))) if metrics else None
    values_at = {
        "own": {key: draw(values) for key in keys[:first]},
        "metrics": metrics,
        "metrics_step": draw(st.none() | counts) if metrics else None,
        "best": None
        if monitored is None
        else BestRecord(monitored, draw(st.none() | numbers), draw(st.none() | counts)),
        "extra": {key: draw(values) for key in keys[second:]},
    }
    fixed = st.fixed_dictionaries(
        {
            "version": names,
            "last_epoch": counts,
            "step": counts,
            "batch_in_epoch": counts,
            "validation_pending": st.booleans(),
            "learning_rate": st.none() | numbers,
            "seed": st.none() | st.integers(-(2**63), 2**63 - 1),
            "world_size": st.none() | st.integers(1, 99),
            "running_loss": st.none() | st.builds(RunningLoss, numbers, counts),
            "callbacks": st.dictionaries(names, objects, max_size=3),
            "config_sha256": st.none() | digests,
            "data_sha256": st.none() | digests,
            "fingerprint": st.none() | st.fixed_dictionaries({"config": objects, "data": objects}),
            "metrics_offset": st.none() | counts,
            "files": st.dictionaries(st.from_regex(r"\A\w[\w.-]*\Z"), digests, max_size=3),
        }
    )
    try:
        return CheckpointState(**values_at, **draw(fixed))
    except UsageError:  # a drawn key is one of the engine's
        return CheckpointState(**draw(fixed))


@settings(max_examples=200, deadline=None)
@given(states())
def test_what_is_written_is_read_again(tmp_path_factory, state: CheckpointState) -> None:
    path = tmp_path_factory.mktemp("any") / STATE_FILE
    path.write_bytes(encode_state(state.to_json()))
    assert read_state(path) == state
    assert list(read_content(path)) == list(state.to_json())


def written(tmp_path: Path, content: dict[str, Any]) -> Path:
    path = tmp_path / STATE_FILE
    path.write_bytes(encode_state(content))
    return path


def refused(path: Path) -> str:
    with pytest.raises(CheckpointError) as refusal:
        read_state(path)
    message = str(refusal.value)
    assert message.startswith(str(path)) and "\n" not in message
    return message


def test_the_keys_stand_in_their_order() -> None:
    assert list(STATE.to_json()) == KEYS


def test_a_new_record_has_only_what_a_run_always_has() -> None:
    content = CheckpointState().to_json()
    assert content["version"] == __version__ and content["schema"] == 1
    assert list(content) == [
        *("schema", "version", "last_epoch", "step", "batch_in_epoch", "validation_pending"),
        *("learning_rate", "seed", "world_size", "callbacks", "config_sha256", "data_sha256"),
        "files",
    ]


def test_a_file_of_version_0_1_is_read_and_written_to_the_same_bytes() -> None:
    path = OLD_RUN / STATE_FILE
    state = read_state(path)
    assert (state.version, state.step, state.metrics_step) == ("0.1.0", 6, 6)
    assert list(state.metrics) == ["eer", "min_dcf", "threshold"]
    assert state.best == BestRecord("eer", 0.3125, 3)
    assert list(state.own)[:3] == ["model", "feature", "loss"] and not state.extra
    assert encode_state(state.to_json()) == path.read_bytes()


def test_averaged_and_converted_checkpoints_of_version_0_1_are_read(tmp_path: Path) -> None:
    """They have the same keys as a run's, in another order and without the run's own."""
    content = STATE.to_json()
    none = dict.fromkeys(("eer", "min_dcf", "threshold", "eer_step", "best_eer", "best_step"))
    averaged = {
        **{key: content[key] for key in ("schema", "version", "model")},
        **{"last_epoch": 2, "step": 30, "learning_rate": 0.01, "seed": 7, **none},
        **{"config_sha256": None, "data_sha256": None, "batch_in_epoch": 0},
        **{"validation_pending": False, "world_size": None, "callbacks": {}},
        **{"averaged_from": {"checkpoints": ["epoch_1"]}, "files": {}},
    }
    state = read_state(written(tmp_path, averaged))
    assert state.metrics == {"eer": None, "min_dcf": None, "threshold": None}
    assert state.best == BestRecord("eer") and state.metrics_step is None
    assert list(state.own) == ["model"] and list(state.extra) == ["averaged_from"]

    converted = {
        **{key: content[key] for key in ("schema", "version", "model")},
        **{"last_epoch": 0, "step": 0, "batch_in_epoch": 0, "validation_pending": False},
        **{"eer": 0.1, "min_dcf": 0.5, "threshold": 0.3, "eer_step": 0},
        **{"best_eer": 0.1, "best_step": 0, "learning_rate": None, "seed": None},
        **{"world_size": None, "callbacks": {}, "config_sha256": None, "data_sha256": None},
        **{"converted_from": {"toolkit": "wespeaker"}, "files": {}},
    }
    state = read_state(written(tmp_path, converted))
    assert state.metrics == {"eer": 0.1, "min_dcf": 0.5, "threshold": 0.3}
    assert state.best == BestRecord("eer", 0.1, 0) and list(state.extra) == ["converted_from"]


def test_derived_weights_keep_the_model_and_lose_the_run() -> None:
    state = STATE.derived(averaged_from={"checkpoints": []})
    assert state.version == __version__
    kept = ("own", "last_epoch", "step", "learning_rate", "seed")
    assert all(getattr(state, name) == getattr(STATE, name) for name in kept)
    assert state.metrics == {"eer": None, "min_dcf": None, "threshold": None}
    assert state.best == BestRecord("eer") and state.extra == {"averaged_from": {"checkpoints": []}}
    assert state == replace(
        CheckpointState(),
        **{name: getattr(state, name) for name in (*kept, "metrics", "best", "extra")},
    )


def test_the_digests_of_the_files_are_those_of_the_checkpoint() -> None:
    files = with_state({"a": b"1"}, STATE)
    assert list(files) == ["a", STATE_FILE]
    assert list(json.loads(files[STATE_FILE])["files"]) == ["a"]


@pytest.mark.parametrize(
    "changes",
    [
        {"own": {"step": 1}},
        {"own": {"metrics_offset": 1}},
        {"own": {"eer": 1}},
        {"own": {"eer_step": 1}},
        {"own": {"best_eer": 1}},
        {"extra": {"sha256": 1}},
        {"extra": {"model": 1}},
        {"metrics": {"files": 1.0}, "best": None},
        {"metrics": {"best": 1.0}, "best": None},
    ],
)
def test_a_key_that_is_in_use_is_refused_before_it_is_written(changes: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="would have the key"):
        replace(STATE, **changes)


REQUIRED = [
    *("schema", "version", "last_epoch", "step", "batch_in_epoch", "validation_pending"),
    *("learning_rate", "seed", "world_size", "callbacks", "config_sha256", "data_sha256", "files"),
]


@pytest.mark.parametrize("key", REQUIRED)
def test_a_missing_key_is_named(tmp_path: Path, key: str) -> None:
    content = STATE.to_json()
    del content[key]
    assert f"it has no '{key}'" in refused(written(tmp_path, content))


TEXT, LIST, OBJECT = "x\ny", [1], {"a": 1}
COUNT = [TEXT, LIST, OBJECT, True, 1.0, -1, 2**63]
NUMBER = [TEXT, LIST, OBJECT, True, 10**400]
HOSTILE: dict[str, list[object]] = {
    "schema": [*COUNT, None, 0, 2],
    "version": [None, 1, True, LIST, OBJECT],
    "last_epoch": [*COUNT, None],
    "step": [*COUNT, None],
    "batch_in_epoch": [*COUNT, None],
    "validation_pending": [None, 0, 1, TEXT, LIST, OBJECT],
    "eer": NUMBER,
    "min_dcf": NUMBER,
    "threshold": NUMBER,
    "eer_step": COUNT,
    "learning_rate": NUMBER,
    "seed": [TEXT, LIST, OBJECT, True, 1.0, 2**63, -(2**63) - 1],
    "world_size": [*COUNT, 0],
    "running_loss": [None, 1, TEXT, LIST, {}, OBJECT, {"sum": 1.0, "count": -1}, {"sum": "1"}],
    "callbacks": [None, 1, TEXT, LIST, OBJECT],
    "config_sha256": [1, True, TEXT, "0f", DIGEST.upper(), LIST, OBJECT],
    "data_sha256": [1, True, TEXT, "0f", DIGEST + "0", LIST, OBJECT],
    "fingerprint": [None, 1, TEXT, LIST, {}, OBJECT, {"config": {}, "data": 1}, {"config": {}}],
    "metrics_offset": [*COUNT, None],
    "best_eer": NUMBER,
    "best_step": COUNT,
    "files": [
        None,
        1,
        TEXT,
        LIST,
        {"a": 1},
        {"a": DIGEST + "\n"},
        {"../a": DIGEST},
        {"a\n": DIGEST},
    ],
}


@pytest.mark.parametrize(
    ("key", "value"), [(key, value) for key, values in HOSTILE.items() for value in values]
)
def test_a_value_of_another_type_or_range_is_refused(
    tmp_path: Path, key: str, value: object
) -> None:
    message = refused(written(tmp_path, STATE.to_json() | {key: value}))
    assert repr(key) in message or key == "files"
    assert len(message) < len(str(tmp_path)) + 300


@pytest.mark.parametrize("key", ["eer", "best_eer"])
def test_a_best_record_without_its_metric_is_refused(tmp_path: Path, key: str) -> None:
    content = STATE.to_json()
    del content[key]
    assert "'best_step'" in refused(written(tmp_path, content))


def test_every_fixed_key_is_tried() -> None:
    assert HOSTILE.keys() == set(KEYS) - {"model", "sample_rate", "note"}


@settings(max_examples=200, deadline=None)
@given(st.permutations(KEYS), st.sampled_from(KEYS), values)
def test_no_hostile_state_raises_anything_else(
    tmp_path_factory, order: list[str], key: str, value: object
) -> None:
    """Any order of the keys, with any value under one of them."""
    content = STATE.to_json() | {key: value}
    path = tmp_path_factory.mktemp("hostile") / STATE_FILE
    path.write_bytes(encode_state({name: content[name] for name in order}))
    try:
        state = read_state(path)
    except CheckpointError as error:
        assert "\n" not in str(error)
    else:
        assert state.step == content["step"]
