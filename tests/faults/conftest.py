from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest
from recipe_cli import command, command_into, corpus, recipe, run_py  # noqa: F401 - fixtures
from recovery import outcome

from vprtrain.engine.killpoints import VARIABLE

RUN_DIR = "TDNN_Fbank"


@pytest.fixture(scope="session")
def cli_straight(command_into, recipe, tmp_path_factory) -> dict[str, Any]:  # noqa: F811
    """The outcome of the recipe's command where nothing befalls it."""
    save_dir = tmp_path_factory.mktemp("cli_straight")
    done = recipe(*command_into(save_dir))
    assert done.returncode == 0, done.stderr
    return outcome(save_dir / RUN_DIR)


@pytest.fixture(scope="session")
def _cli_killed(command_into, recipe, tmp_path_factory) -> Path:  # noqa: F811
    save_dir = tmp_path_factory.mktemp("cli_killed")
    killed = recipe(*command_into(save_dir), env=os.environ | {VARIABLE: "before_prune:6"})
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    return save_dir / RUN_DIR


@pytest.fixture
def cli_killed(_cli_killed, tmp_path) -> Path:
    """The run directory of ``command()``, which was killed half-way."""
    return Path(shutil.copytree(_cli_killed, tmp_path / RUN_DIR, symlinks=True))
