"""A checkpoint that differs in any byte from the saved one is refused in one line with the path."""

from __future__ import annotations

import json
import os
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vprtrain import files
from vprtrain.checkpoint.snapshot import Snapshot
from vprtrain.checkpoint.state import CheckpointState
from vprtrain.checkpoint.state_file import (
    STATE_FILE,
    SavedCheckpoint,
    encode_state,
    open_checkpoint,
    read_content,
)
from vprtrain.errors import CheckpointError

NAMES = ("model.pdparams", "optimizer.pdopt", "config.yaml", STATE_FILE)
STATE = CheckpointState(
    version="1",
    step=10,
    metrics={"threshold": 0.31},
    learning_rate=1e-05,
    callbacks={"EMA": {"n": 3}},
)


def snapshot(**changes: Any) -> Snapshot:
    return Snapshot(
        name="epoch_1",
        state=replace(STATE, **changes),
        arrays={
            "model.pdparams": {"weight": np.arange(6, dtype="float32").reshape(2, 3)},
            "optimizer.pdopt": {"moment1/weight": np.ones((2, 3), "float32")},
        },
        texts={"config.yaml": "seed: 1\nname: Gewähr\n"},
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    snapshot().save(tmp_path / "epoch_1")
    return tmp_path / "epoch_1"


def refused(folder: Path, name: str) -> str:
    with pytest.raises(CheckpointError) as refusal:
        open_checkpoint(folder)
    message = str(refusal.value)
    assert message.startswith(str(folder / name)) and "\n" not in message
    return message


def rewrite(folder: Path, **changes: object) -> None:
    """Write a changed state with a correct digest."""
    content = read_content(folder / STATE_FILE) | changes
    (folder / STATE_FILE).write_bytes(encode_state(content))


def test_a_whole_checkpoint_gives_back_what_was_saved(folder: Path) -> None:
    saved = open_checkpoint(folder)
    assert saved.folder == folder
    assert replace(saved.state, files={}) == STATE
    assert list(saved.state.files) == list(NAMES[:3])
    assert saved.read("config.yaml").decode() == "seed: 1\nname: Gewähr\n"
    assert np.array_equal(saved.arrays("model.pdparams")["weight"], np.arange(6).reshape(2, 3))
    assert saved.has("optimizer.pdopt") and not saved.has("ema.pdparams")


def test_the_state_is_json_for_people_and_proves_itself(folder: Path) -> None:
    text = (folder / STATE_FILE).read_text()
    state = json.loads(text)
    assert next(iter(state)) == "schema" and list(state)[-2:] == ["files", "sha256"]
    assert text.startswith('{\n  "schema": 1,\n') and text.endswith("}\n")
    assert state["files"]["config.yaml"] == files.sha256((folder / "config.yaml").read_bytes())
    assert state["sha256"] == files.sha256(re.sub(r',\n  "sha256": "\w+"', "", text).encode())


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_number_that_json_has_not_is_not_written(tmp_path: Path, value: float) -> None:
    with pytest.raises(ValueError, match="JSON"):
        snapshot(metrics={"eer": value}).save(tmp_path / "epoch_1")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", NAMES)
def test_a_truncated_file_is_found(folder: Path, name: str) -> None:
    whole = (folder / name).read_bytes()
    for length in {0, 1, len(whole) // 3, len(whole) // 2, len(whole) - 2, len(whole) - 1}:
        (folder / name).write_bytes(whole[:length])
        refused(folder, name)
    (folder / name).write_bytes(whole + b"\n")
    refused(folder, name)
    (folder / name).write_bytes(whole)
    assert open_checkpoint(folder).state.step == 10


@pytest.mark.parametrize("name", NAMES)
def test_a_flipped_bit_is_found(folder: Path, name: str) -> None:
    whole = (folder / name).read_bytes()
    for bit in range(0, 8 * len(whole), 5):
        flipped = bytearray(whole)
        flipped[bit // 8] ^= 1 << bit % 8
        (folder / name).write_bytes(flipped)
        with pytest.raises(CheckpointError):
            open_checkpoint(folder)
    (folder / name).write_bytes(whole)
    open_checkpoint(folder)


@pytest.mark.parametrize("name", NAMES)
def test_a_file_that_is_missing_or_something_else_is_found(folder: Path, name: str) -> None:
    whole = (folder / name).read_bytes()
    (folder / name).unlink()
    assert "No such file" in refused(folder, name)
    (folder / name).mkdir()
    assert "Is a directory" in refused(folder, name)
    (folder / name).rmdir()
    (folder / name).symlink_to(name)
    assert "Too many levels" in refused(folder, name)
    (folder / name).unlink()
    (folder / name).write_bytes(bytes(len(whole)))
    refused(folder, name)


def test_a_file_of_another_checkpoint_is_found(folder: Path) -> None:
    other = snapshot(step=20)
    other.arrays["model.pdparams"]["weight"] += 1
    other.save(folder.parent / "other")
    shutil.copy(folder.parent / "other" / "model.pdparams", folder)
    assert "another SHA-256" in refused(folder, "model.pdparams")


def test_a_file_that_is_damaged_after_opening_is_found_when_it_is_read(folder: Path) -> None:
    saved = open_checkpoint(folder)
    (folder / "model.pdparams").write_bytes(b"other")
    with pytest.raises(
        CheckpointError, match=re.escape(f"{folder / 'model.pdparams'} is not what was saved")
    ):
        saved.arrays("model.pdparams")
    (folder / "extra").write_bytes(b"")
    with pytest.raises(CheckpointError, match="extra"):
        saved.read("extra")


@pytest.mark.parametrize(
    "name",
    [
        "../outside",
        "/etc/hostname",
        "..",
        ".",
        "",
        "a/b",
        "a\0b",
        "a\nb",
        ".tmp-a",
        "config.yaml/",
    ],
)
def test_a_name_that_is_not_a_plain_file_of_the_folder_is_refused(folder: Path, name: str) -> None:
    (folder.parent / "outside").write_bytes(b"outside")
    rewrite(folder, files={name: files.sha256(b"outside")})
    assert "not a plain file name" in refused(folder, STATE_FILE)


@pytest.mark.parametrize("schema", [0, 2, "1", None])
def test_a_state_of_another_schema_is_refused(folder: Path, schema: object) -> None:
    rewrite(folder, schema=schema)
    assert "schema 1" in refused(folder, STATE_FILE)


@pytest.mark.parametrize("listed", [None, [], "model.pdparams", 3])
def test_a_state_that_lists_no_files_is_refused(folder: Path, listed: object) -> None:
    rewrite(folder, files=listed)
    refused(folder, STATE_FILE)


@pytest.mark.parametrize("digest", [None, 7, "", ["x"], {"sha256": 1}])
def test_a_digest_of_another_kind_never_verifies(folder: Path, digest: object) -> None:
    rewrite(folder, files={"config.yaml": digest})
    assert "expected the SHA-256 of that file" in refused(folder, STATE_FILE)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "null",
        "[]",
        '"text"',
        "3",
        "{}",
        "NaN",
        '{"a": Infinity}',
        '{"sha256": null}',
        "[" * 100_000,
        r'{"a": "\ud800", "sha256": ""}',
        "\xff",
    ],
)
def test_what_is_no_state_at_all_is_refused(folder: Path, text: str) -> None:
    (folder / STATE_FILE).write_bytes(text.encode("latin-1"))
    refused(folder, STATE_FILE)


def test_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    refused(tmp_path / "epoch_7", STATE_FILE)
    (tmp_path / "loop").symlink_to("loop")
    refused(tmp_path / "loop", STATE_FILE)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
@pytest.mark.parametrize("name", NAMES)
def test_a_file_that_may_not_be_read_is_named(folder: Path, name: str) -> None:
    (folder / name).chmod(0)
    assert "Permission denied" in refused(folder, name)


def test_a_link_is_resolved_once(folder: Path) -> None:
    link = folder.parent / "last_model"
    files.point_link(link, "epoch_1")
    saved = open_checkpoint(link)
    snapshot(step=20).save(folder.parent / "epoch_2")
    files.point_link(link, "epoch_2")
    assert saved.folder == folder and saved.state.step == 10 and saved.arrays("model.pdparams")
    assert open_checkpoint(link).state.step == 20


def test_a_saved_checkpoint_is_a_value(folder: Path) -> None:
    assert open_checkpoint(folder) == open_checkpoint(folder)
    with pytest.raises(AttributeError):
        open_checkpoint(folder).folder = folder  # type: ignore[misc]
    assert isinstance(open_checkpoint(folder), SavedCheckpoint)
