"""Fixtures: a tiny prepared corpus, and the recipe's command line as a user has it."""

from __future__ import annotations

import os
import runpy
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from vprtrain.commands import program
from vprtrain.data.preparation import Preparation
from vprtrain.engine.killpoints import VARIABLE
from vprtrain.recipes.cnceleb.corpus import make_corpus
from vprtrain.recipes.cnceleb.prepare import prepare

RUN = Path(__file__).parents[1] / "recipes" / "cnceleb" / "run.py"
RUN_DIR = "TDNN_Fbank"

Recipe = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="session")
def corpus(tmp_path_factory) -> Path:
    """Manifests of 6 training and 4 unseen synthetic speakers, 8 utterances of 1 s each."""
    folder = tmp_path_factory.mktemp("corpus")
    root = make_corpus(folder, speakers=6, unseen=4, utterances=8, seconds=1.0, processes=1)
    prepare(Preparation(out_dir=folder / "manifests"), root)
    return folder / "manifests"


@pytest.fixture(scope="session")
def run_py() -> tuple[str, ...]:
    """How a user starts the recipe."""
    return sys.executable, str(RUN)


@pytest.fixture(scope="session")
def command_into(corpus, run_py) -> Callable[..., list[str]]:
    """The command of a small fit on that corpus into a folder, with further options."""

    def arguments(save_dir: Path, *more: str) -> list[str]:
        return [
            *run_py,
            "fit",
            "--config=demo",
            f"--save_dir={save_dir}",
            f"--data.train_manifest={corpus / 'train.tsv'}",
            f"--data.eval_manifest={corpus / 'eval.tsv'}",
            f"--data.trials={corpus / 'trials.txt'}",
            f"--data.enroll={corpus / 'enroll.map'}",
            "--model.init_args.channels=16",
            "--model.init_args.pooled_channels=24",
            "--model.init_args.embedding_dim=16",
            "--data.batch_size=8",
            "--data.crop_seconds=0.6",
            "--engine.max_epochs=8",
            "--engine.log_every=1",
            "--engine.validate_every=10 steps",
            "--engine.commit_every=4 steps",
            *more,
        ]

    return arguments


@pytest.fixture
def command(command_into, tmp_path) -> Callable[..., list[str]]:
    """The same into tmp_path."""
    return lambda *more: command_into(tmp_path, *more)


@pytest.fixture(scope="session")
def recipe() -> Recipe:
    """Runs a command in a process of its own, and returns its status and output."""

    def run(*command: str, **options) -> subprocess.CompletedProcess[str]:
        options = {
            "capture_output": True,
            "text": True,
            "timeout": 300,
            "env": dict(os.environ),
        } | options
        return subprocess.run(command, **options)

    return run


@pytest.fixture
def recipe_here(capfd) -> Recipe:
    """The same in this process, without the 2 s that importing Paddle takes: for tests to which the
    process does not matter."""

    def run(*command: str) -> subprocess.CompletedProcess[str]:
        capfd.readouterr()
        status = status_here(*command)
        return subprocess.CompletedProcess(command, status, *capfd.readouterr())

    return run


def status_here(python: str, script: str, *arguments: str) -> Any:
    """Run a recipe's command in this process, and return its exit status."""
    try:
        return program.status(runpy.run_path(script)["main"], arguments)
    except SystemExit as left:
        return left.code or 0


@pytest.fixture(scope="session")
def cli_straight(command_into, recipe, tmp_path_factory) -> Path:
    """The run directory of the command, in a process of its own, without any fault."""
    save_dir = tmp_path_factory.mktemp("cli_straight")
    done = recipe(*command_into(save_dir))
    assert done.returncode == 0, done.stderr
    return save_dir / RUN_DIR


@pytest.fixture(scope="session")
def straight_outcome(cli_straight) -> dict[str, Any]:
    """What a fault must not change in that run."""
    from recovery import outcome  # imports Paddle, which few tests of this folder need

    return outcome(cli_straight)


@pytest.fixture(scope="session")
def _cli_killed(command_into, recipe, tmp_path_factory) -> Path:
    save_dir = tmp_path_factory.mktemp("cli_killed")
    killed = recipe(*command_into(save_dir), env=os.environ | {VARIABLE: "before_prune:6"})
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    return save_dir / RUN_DIR


@pytest.fixture
def cli_killed(_cli_killed, tmp_path) -> Path:
    """The run directory of ``command()`` after a kill half-way, for the test to change."""
    return Path(shutil.copytree(_cli_killed, tmp_path / RUN_DIR, symlinks=True))
