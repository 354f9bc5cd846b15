"""What ``fit`` says at its end."""

from __future__ import annotations

from pathlib import Path

import pytest

from vprtrain.commands.training import end_of_run
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
