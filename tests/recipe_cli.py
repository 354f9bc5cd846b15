"""Fixtures: a tiny prepared corpus and the recipe's command line, as a user has them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from vprtrain.data.preparation import Preparation
from vprtrain.recipes.cnceleb.corpus import make_corpus
from vprtrain.recipes.cnceleb.prepare import prepare

RUN = Path(__file__).parents[1] / "recipes" / "cnceleb" / "run.py"

Recipe = Callable[..., subprocess.CompletedProcess]


@pytest.fixture(scope="session")
def corpus(tmp_path_factory) -> Path:
    """Manifests of 6 training and 4 unseen synthetic speakers, 8 utterances of 1 s each."""
    folder = tmp_path_factory.mktemp("corpus")
    root = make_corpus(folder, speakers=6, unseen=4, utterances=8, seconds=1.0, processes=1)
    prepare(Preparation(out_dir=folder / "manifests"), root)
    return folder / "manifests"


@pytest.fixture(scope="session")
def run_py() -> tuple[str, ...]:
    """How the recipe is started."""
    return sys.executable, str(RUN)


@pytest.fixture(scope="session")
def command_into(corpus, run_py) -> Callable[..., list[str]]:
    """The arguments of a small fit on that corpus into a folder; more of them may follow."""

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
    """Runs a command to its end and gives its status and output."""

    def run(*command: str, **options) -> subprocess.CompletedProcess:
        options = {
            "capture_output": True,
            "text": True,
            "timeout": 120,
            "env": dict(os.environ),
        } | options
        return subprocess.run(command, **options)

    return run
