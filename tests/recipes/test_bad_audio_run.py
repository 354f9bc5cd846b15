"""Unusable recordings in a real run: it goes on and names them, and ends if they are too many."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from bad_recordings import UNUSABLE, bad_audio_files
from recipe_cli import RUN_DIR, Recipe

from vprtrain.checkpoint.state_file import open_checkpoint
from vprtrain.data.manifest import write_manifest


@pytest.fixture(scope="module")
def nasty_list(test_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A manifest of every file of bad_audio in a row, then 300 recordings of speech."""
    nasty = bad_audio_files(test_data)
    speech = sorted((test_data / "dev_pack").rglob("*.flac"))[:300]
    rows = [
        (str(path), f"speaker{number // 20}", None) for number, path in enumerate([*nasty, *speech])
    ]
    manifest = tmp_path_factory.mktemp("nasty") / "train.tsv"
    write_manifest(manifest, rows)
    return manifest


@pytest.fixture
def options(nasty_list: Path) -> tuple[str, ...]:
    return (
        f"--data.train_manifest={nasty_list}",
        "--data.crop_seconds=2.0",
        "--data.batch_size=2",
        "--engine.max_epochs=2",
        "--engine.log_every=10",
        "--engine.validate_every=never",
        "--engine.commit_every=50 steps",
    )


def noted(run_dir: Path) -> set[str]:
    return {
        Path(line.split("\t")[0]).name
        for line in (run_dir / "bad_audio.tsv").read_text().splitlines()
    }


def test_within_the_limit_the_run_ends_normally(
    command: Callable[..., list[str]], recipe_here: Recipe, options: tuple[str, ...], tmp_path: Path
) -> None:
    done = recipe_here(*command(*options, "--max_bad_share=0.1"))
    assert done.returncode == 0, done.stderr
    run_dir = tmp_path / RUN_DIR
    assert noted(run_dir) == UNUSABLE
    assert len((run_dir / "bad_audio.tsv").read_text().splitlines()) == len(UNUSABLE)
    assert f", {len(UNUSABLE)} bad recordings, ETA" in done.stderr
    assert open_checkpoint(run_dir / "last_model").state.last_epoch == 2


def test_beyond_the_limit_it_ends_in_one_line(
    command: Callable[..., list[str]], recipe_here: Recipe, options: tuple[str, ...], tmp_path: Path
) -> None:
    done = recipe_here(*command(*options))
    assert done.returncode == 1, done.stderr
    last = done.stderr.splitlines()[-1]
    assert (
        "4 of 36" in last
        and "more than max_bad_share (0.01) allows" in last
        and "bad_audio.tsv" in last
    )
    assert "Traceback" not in done.stderr
    assert len(noted(tmp_path / RUN_DIR) & UNUSABLE) == 4
