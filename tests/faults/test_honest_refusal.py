"""G7: a run does not resume with other data, another configuration or another world size; the
changes are listed."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from probes import StopAfter, train
from recovery import content, fit, outcome
from toy import ToyData, ToyModule

from vprtrain.callbacks import (
    EMA,
    Checkpoint,
    CosineWarmup,
    EtaLogger,
    JsonlLog,
    MarginSchedule,
    NanGuard,
    TensorBoard,
)
from vprtrain.checkpoint.state_file import STATE_FILE, encode_state, open_checkpoint, read_content
from vprtrain.engine import Adam
from vprtrain.errors import UsageError


class Prefetching(ToyData):
    """The same data, prefetched: how data is read is not part of its fingerprint."""

    def train_batches(self, epoch, start):
        return iter(list(super().train_batches(epoch, start)))


@pytest.fixture(scope="module")
def stopped(tmp_path_factory) -> Path:
    run_dir = tmp_path_factory.mktemp("stopped")
    fit(run_dir, StopAfter(7))
    return run_dir


@pytest.fixture
def run_dir(stopped, tmp_path) -> Path:
    return Path(shutil.copytree(stopped, tmp_path / "run", symlinks=True))


CHANGES = {
    "seed": ({"seed": 1}, ["config.seed was 0, is 1"]),
    "max_epochs": ({"max_epochs": 3}, ["config.max_epochs was 2, is 3"]),
    "max_steps": ({"max_steps": 11}, ["config.max_steps was None, is 11"]),
    "validate_every": (
        {"validate_every": "2 steps"},
        ["config.validate_every was '4 steps', is '2 steps'"],
    ),
    "accumulate and clip_norm": (
        {"accumulate": 1, "clip_norm": None},
        ["config.accumulate was 2, is 1", "config.clip_norm was 1.0, is None"],
    ),
    "overfit_batches": ({"overfit_batches": 12}, ["config.overfit_batches was 0, is 12"]),
    "optimizer": (
        {"optimizer": Adam(learning_rate=0.5)},
        ["config.optimizer.learning_rate was 0.001, is 0.5"],
    ),
    "module": ({"module": lambda: ToyModule(width=8)}, ["config.module.width was 16, is 8"]),
    "data": (
        {"data": ToyData(batches=12, seed=3, batch_size=2)},
        ["data.batch_size was 4, is 2", "data.seed was 0, is 3"],
    ),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_that_matters_is_refused_by_its_name(run_dir, change) -> None:
    """G7: one line with all differences, exit status 2, no file changed."""
    options, differences = CHANGES[change]
    before = content(run_dir)
    with pytest.raises(UsageError, match="has another configuration or other data") as refusal:
        fit(run_dir, **options)
    said = str(refusal.value)
    assert refusal.value.exit_status == 2 and "\n" not in said and "--accept_changes" in said
    assert said.partition("mix two runs: ")[2].partition(". Undo the change")[0] == "; ".join(
        differences
    )
    assert content(run_dir) == before


def test_another_world_size_is_refused(run_dir) -> None:
    """G7: gradients are averaged over the ranks, so the world size is part of the run."""
    path = open_checkpoint(run_dir / "last_model").folder / STATE_FILE
    state = read_content(path)
    state["world_size"] = state["fingerprint"]["config"]["world_size"] = 2
    path.write_bytes(encode_state(state))
    with pytest.raises(UsageError, match=r"mix two runs: config\.world_size was 2, is 1\. Undo"):
        fit(run_dir)


@pytest.mark.parametrize(
    "options",
    [
        {"log_every": 1},
        {"commit_every": "1 epoch"},
        {"commit_every": "2 steps", "log_every": 5},
        {"max_time": 5.0},
        {"data": Prefetching(batches=12)},
        {"config": "another: text\n"},
    ],
    ids=" and ".join,  # the names, because all workers of pytest-xdist must find the same ids
)
def test_what_cannot_change_the_weights_is_not_refused(run_dir, tmp_path, options) -> None:
    """G7: intervals, log options and how data is read. The run ends with the straight run's weights
    and record."""
    fit(run_dir, EtaLogger(), NanGuard(), TensorBoard(), **options)
    fit(tmp_path / "straight")
    ours, straight = (outcome(folder) for folder in (run_dir, tmp_path / "straight"))
    assert (
        ours["last"]["files"] == straight["last"]["files"]
        and ours["best"]["files"] == straight["best"]["files"]
    )
    assert ours["last"]["best_error"] == straight["last"]["best_error"]


def test_accepted_changes_are_named_in_the_log_and_the_run_goes_on(run_dir, caplog) -> None:
    """G7: ``accept_changes`` makes the new configuration that of the run; the next resume compares
    with it."""
    run = fit(run_dir, max_epochs=3, data=ToyData(batches=12, seed=3), fit={"accept_changes": True})
    assert run.result.step == 18
    assert "with changes: config.max_epochs was 2, is 3; data.seed was 0, is 3" in caplog.text
    assert fit(run_dir, max_epochs=3, data=ToyData(batches=12, seed=3)).result.step == 18
    with pytest.raises(UsageError, match=r"config\.max_epochs was 3, is 2"):
        fit(run_dir, data=ToyData(batches=12, seed=3))


def test_a_callback_that_shapes_the_weights_is_part_of_the_configuration(run_dir) -> None:
    """G7: a schedule that is missing or has other options is refused; observers may change."""
    options = {"max_epochs": 2, "accumulate": 2, "clip_norm": 1.0, "validate_every": "4 steps"}
    kept = [CosineWarmup(warmup_epochs=0.5), Checkpoint(keep=4), JsonlLog()]
    with pytest.raises(UsageError) as refusal:
        train(
            *kept,
            MarginSchedule(start_epoch=0.5, fix_epoch=1.0),
            run_dir=run_dir,
            data=ToyData(batches=12),
            **options,
        )
    assert "config.callbacks.MarginSchedule.fix_epoch was 1.5, is 1.0" in str(refusal.value)
    assert "config.callbacks.EMA was {'decay': 0.9}, is None" in str(refusal.value)
    train(
        *kept,
        MarginSchedule(start_epoch=0.5, fix_epoch=1.5),
        EMA(decay=0.9),
        EtaLogger(),
        run_dir=run_dir,
        data=ToyData(batches=12),
        **options,
    )


def test_the_command_refuses_a_changed_manifest_and_goes_on_with_other_workers(
    command, recipe_here, corpus, straight_outcome, cli_killed
) -> None:
    """G7: the fingerprint covers the manifest's text; exit status 2 and one line. Workers and
    intervals may change."""
    lines = (corpus / "train.tsv").read_text().splitlines(keepends=True)
    manifest = corpus / "changed.tsv"  # in the same folder, because its paths are relative
    manifest.write_text("".join([*lines[1:], lines[0]]))
    before = content(cli_killed)
    try:
        refused = recipe_here(*command(f"--data.train_manifest={manifest}", "--data.batch_size=6"))
    finally:
        manifest.unlink()
    assert refused.returncode == 2
    error = refused.stderr.splitlines()[-1]
    assert error.startswith("error: ") and "--accept_changes" in error
    assert "data.train_manifest was '" in error and "data.batch_size was 8, is 6" in error
    assert "data.crop_seconds" not in error
    assert content(cli_killed) == before

    done = recipe_here(
        *command("--data.workers=0", "--engine.log_every=1", "--engine.commit_every=3 steps")
    )
    assert done.returncode == 0, done.stderr
    assert outcome(cli_killed) == straight_outcome
