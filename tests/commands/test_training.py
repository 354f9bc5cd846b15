"""How ``fit`` starts the weights, and what it says at its end."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from vprtrain.commands.config import CommandParser
from vprtrain.commands.training import add_options, build, end_of_run
from vprtrain.engine import FitResult


def said(folder: Path, stopped_by: str, step: int) -> str:
    return end_of_run(FitResult(stopped_by=stopped_by, epoch=1, step=step), 100, folder)


def test_a_run_without_validation_has_only_a_last_model(tmp_path: Path) -> None:
    assert said(tmp_path, "max_steps", 100) == (
        f"trained to step 100 (max_steps); the model is {tmp_path}/last_model"
    )
    (tmp_path / "best_model").mkdir()
    assert said(tmp_path, "max_steps", 100).endswith(f"the model is {tmp_path}/best_model")


@pytest.mark.parametrize("reason", ["SIGTERM", "max_time"])
def test_the_same_command_resumes_what_was_interrupted(tmp_path: Path, reason: str) -> None:
    assert said(tmp_path, reason, 50) == (
        f"stopped by {reason} at step 50 of 100; the same command resumes from "
        f"{tmp_path}/last_model"
    )


def test_early_stopping_does_not_promise_that_the_same_command_resumes(tmp_path: Path) -> None:
    words = said(tmp_path, "early_stopping", 50)
    assert words.startswith("early stopping ended the training at step 50 of 100")
    assert "resumes" not in words
    assert "raise the patience of EarlyStopping" in words and "--accept_changes" in words


def initial_weights(folder: Path, *options: str) -> dict[str, np.ndarray]:
    manifest = folder / "train.tsv"
    manifest.write_text("".join(f"{name}.wav\t{name}\t3.0\n" for name in "abcd"))
    for name in "abcd":
        (folder / f"{name}.wav").touch()
    parser = CommandParser(prog="fit")
    add_options(parser)
    model = ["--model=vprtrain.models.TDNN", "--model.channels=64", "--loss=CELoss"]
    data = [f"--data.train_manifest={manifest}", "--data.batch_size=2", f"--save_dir={folder}"]
    config = parser.parse_args([*model, *data, "--engine.max_steps=1", *options])
    module = build(parser, config).module
    return {name: value.numpy() for name, value in module.state_dict().items()}


@pytest.mark.parametrize(
    ("options", "widening"), [([], 1.0), (["--initialisation=paddle"], 6**0.5)]
)
def test_weights_start_as_asked_for_and_follow_the_seed(
    tmp_path: Path, options: list[str], widening: float
) -> None:
    first, again = (initial_weights(tmp_path, "--seed=7", *options) for _ in range(2))
    other = initial_weights(tmp_path, "--seed=8", *options)
    weight, bias = "model.frames.1.conv.weight", "model.frames.1.conv.bias"
    assert first[weight].std() == pytest.approx(widening * (3 * 64 * 3) ** -0.5, rel=0.03)
    assert (first[bias] == 0).all() == (first["head.bias"] == 0).all() == bool(options)
    for name, value in first.items():
        np.testing.assert_array_equal(value, again[name])
    assert (first[weight] != other[weight]).any()
