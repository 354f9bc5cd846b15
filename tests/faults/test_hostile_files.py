"""G2: a stranger's checkpoint with valid digests is refused in one line and executes nothing."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from vprtrain.checkpoint.state_file import STATE_FILE, encode_state, open_checkpoint
from vprtrain.files import sha256

MARKER = "executed"


class Attack:
    """Runs a command when it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {MARKER}",)


def resign(folder: Path, change: Callable[[dict[str, Any]], object] = lambda state: None) -> None:
    """Change a checkpoint's state, then update every digest, as an attacker would."""
    state = json.loads((folder / STATE_FILE).read_bytes())
    del state["sha256"]
    state["files"] = {
        path.name: sha256(path.read_bytes()) for path in folder.iterdir() if path.name != STATE_FILE
    }
    change(state)
    (folder / STATE_FILE).write_bytes(encode_state(state))


def poison(folder: Path, name: str) -> None:
    """Add an attack to the arrays of a file."""
    path = folder / name
    arrays = pickle.loads(path.read_bytes()) if path.exists() else {}
    path.write_bytes(pickle.dumps(arrays | {"attack": Attack()}, protocol=4))
    resign(folder)


@pytest.fixture
def stranger(cli_killed, tmp_path, monkeypatch) -> Path:
    """The newest checkpoint of a killed run. An attack would leave its mark in the working
    directory."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return open_checkpoint(cli_killed / "last_model").folder


@pytest.fixture
def refused(recipe_here, run_py, command, stranger, tmp_path) -> Callable[..., str]:
    """Runs a command of the recipe on the stranger's checkpoint, and returns its one error line."""
    new = (f"--init_from={stranger}", f"--save_dir={tmp_path / 'new'}")
    commands = {
        "fit": command(),
        "fit --resume": command(f"--resume={stranger}"),
        "fit --init_from": command(*new),
        "validate": [*run_py, "validate", f"--checkpoint={stranger}"],
    }

    def run(name: str) -> str:
        done = recipe_here(*commands[name])
        errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
        assert done.returncode in (1, 2) and len(errors) == 1, errors
        assert list(Path.cwd().iterdir()) == [], "something was executed"
        assert str(stranger) in errors[0]
        return errors[0]

    return run


def test_the_attack_is_real(stranger) -> None:
    """The tests below would fail if these files were unpickled."""
    poison(stranger, "model.pdparams")
    pickle.loads((stranger / "model.pdparams").read_bytes())
    assert Path(MARKER).exists()


READ_BY = {
    "fit": ("model.pdparams", "optimizer.pdopt"),
    "fit --resume": ("model.pdparams", "optimizer.pdopt"),
    "fit --init_from": ("model.pdparams", "ema.pdparams"),
    "validate": ("model.pdparams", "ema.pdparams"),
}


@pytest.mark.parametrize(
    ("name", "file"), [(name, file) for name, files in READ_BY.items() for file in files]
)
def test_a_malicious_pickle_is_refused_and_executes_nothing(refused, stranger, name, file) -> None:
    """G2: in every file of arrays that a command reads, with valid digests."""
    poison(stranger, file)
    said = refused(name)
    assert f"{stranger / file} is not a file of named arrays and was not read" in said
    assert "asks for 'posix.system'" in said


def test_a_process_of_its_own_refuses_it_too(recipe, run_py, stranger) -> None:
    """G2: as a user would run it; exit status 1, one line, nothing executed."""
    poison(stranger, "model.pdparams")
    done = recipe(*run_py, "validate", f"--checkpoint={stranger}")
    assert done.returncode == 1 and done.stdout == ""
    assert [
        line for line in done.stderr.splitlines() if not line[:2].isdigit()
    ] == done.stderr.splitlines()[-1:]
    assert "asks for 'posix.system'" in done.stderr and list(Path.cwd().iterdir()) == []


@pytest.mark.parametrize(
    "path",
    [
        *(
            "os.system",
            "builtins.exec",
            "builtins.eval",
            "subprocess.Popen",
            "pathlib.Path",
            "vprtrain.commands.program.run",
        ),
        *(
            "vprtrain.models.os.system",
            "vprtrain.spec.importlib.import_module",
            "vprtrain.engine.Engine",
        ),
        *(
            "antigravity.nothing",
            "vprtrain..models.TDNN",
            "vprtrain.nothing.TDNN",
            "TDNN",
            ".TDNN",
            "a\0b.c",
            "",
        ),
        "vprtrain.models.SpeakerEncoder",
    ],
)
@pytest.mark.parametrize("part", ["model", "feature", "loss"])
def test_only_classes_of_their_kind_are_made(refused, stranger, part, path) -> None:
    """G2: for any ``class_path``, nothing but an encoder, a feature or a loss is called."""
    arguments = (
        {"args": f"touch {MARKER}"}
        if path == "subprocess.Popen"
        else {"command": f"touch {MARKER}"}
    )
    resign(
        stranger, lambda state: state.update({part: {"class_path": path, "init_args": arguments}})
    )
    imported = set(sys.modules)
    refused("validate")
    assert not {name for name in set(sys.modules) - imported if not name.startswith("vprtrain")}


@pytest.mark.parametrize(
    "spec", [None, [], "vprtrain.models.TDNN", {}, {"class_path": ["os"], "init_args": {}}, 7]
)
def test_a_specification_of_another_shape_is_refused(refused, stranger, spec) -> None:
    """G2: one line that names the checkpoint."""
    resign(stranger, lambda state: state.update(model=spec))
    assert "expected class_path and init_args" in refused("validate")


@pytest.mark.parametrize("name", ["fit", "fit --init_from", "validate"])
@pytest.mark.parametrize(
    "outside", ["../outside", "/etc/hostname", "a/../../outside", "..", "", ".hidden", "a\nb"]
)
def test_a_file_outside_of_the_checkpoint_is_not_read(
    refused, stranger, tmp_path, name, outside
) -> None:
    """G2: ``files`` may hold plain names only, also with a valid digest."""
    (stranger.parent / "outside").write_bytes(b"secret")
    if name == "fit":
        for other in stranger.parent.glob("*_[0-9]*"):
            if other != stranger:
                shutil.rmtree(other)
    resign(stranger, lambda state: state["files"].update({outside: sha256(b"secret")}))
    assert "is not a plain file name" in refused(name)


@pytest.mark.parametrize(
    "text",
    [
        "!!python/object/apply:os.system ['touch executed']",
        "just text",
        "- a list",
        "data: 3",
        "a: [",
        "\0",
    ],
)
def test_a_hostile_configuration_is_refused_and_executes_nothing(refused, stranger, text) -> None:
    """G2: ``config.yaml`` is read as data."""
    (stranger / "config.yaml").write_text(text)
    resign(stranger)
    assert str(stranger / "config.yaml") in refused("validate")
