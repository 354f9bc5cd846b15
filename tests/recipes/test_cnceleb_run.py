"""The recipe's command line: what a user types, reads, and finds on disk."""

from __future__ import annotations

import json
import random
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest
from recipe_cli import RUN_DIR

from vprtrain.checkpoint.state_file import open_checkpoint

STATE_KEYS = {
    "version",
    "schema",
    "model",
    "feature",
    "loss",
    "last_epoch",
    "step",
    "batch_in_epoch",
    "validation_pending",
    "eer",
    "min_dcf",
    "threshold",
    "eer_step",
    "margin",
    "learning_rate",
    "best_eer",
    "best_step",
    "num_speakers",
    "num_classes",
    "seed",
    "world_size",
    "metrics_offset",
    "callbacks",
    "config_sha256",
    "data_sha256",
    "files",
}


@pytest.fixture
def fitted(cli_straight: Path, tmp_path: Path) -> Path:
    """The run directory of ``command()`` after its end, for the test to change."""
    return Path(shutil.copytree(cli_straight, tmp_path / RUN_DIR, symlinks=True))


def weights(run_dir):
    files = open_checkpoint(run_dir / "last_model").state.files
    return files["model.pdparams"], files["optimizer.pdopt"]


def test_fit_then_validate_then_fit(command, recipe_here, run_py, fitted):
    saved = open_checkpoint(fitted / "best_model")
    assert saved.state.to_json().keys() >= STATE_KEYS
    assert set(saved.state.files) == {"model.pdparams", "optimizer.pdopt", "config.yaml"}
    assert saved.state.own["num_speakers"] == 6
    assert saved.state.metrics["eer"] == saved.state.best.value

    validated = recipe_here(*run_py, "validate", f"--checkpoint={fitted / 'last_model'}", "--json")
    assert validated.returncode == 0, validated.stderr
    last = open_checkpoint(fitted / "last_model").state.to_json()
    assert json.loads(validated.stdout) == {
        **{name: last[name] for name in ("eer", "min_dcf", "threshold")},
        "backend": "cosine",
    }

    again = recipe_here(*command())
    assert again.returncode == 0
    assert "trained to step 48 (max_epochs)" in again.stderr


@pytest.mark.slow
def test_stopped_at_any_moment(command, recipe, cli_straight, tmp_path):
    """From the first instruction on: status 143, and no leftover that would disturb a later
    start."""
    rng = random.Random(20)
    stopped, moments = tmp_path / "stopped", 0
    while moments < 25:
        process = subprocess.Popen(command(f"--save_dir={stopped}"), stderr=subprocess.DEVNULL)
        time.sleep(rng.uniform(1.0, 6.0))
        process.send_signal(signal.SIGTERM)
        status = process.wait(timeout=120)
        if (stopped / RUN_DIR / "last_model").exists():
            open_checkpoint(stopped / RUN_DIR / "last_model")
        assert not list(stopped.glob("*/.tmp-*"))
        moments += 1
        if status == 0:
            break
        assert status == 143
    assert recipe(*command(f"--save_dir={stopped}")).returncode == 0
    assert weights(stopped / RUN_DIR) == weights(cli_straight)


def one_line_error(done):
    assert done.returncode == 2, done.stderr
    *before, last = done.stderr.splitlines()
    assert last.startswith("error: "), done.stderr
    # nothing else but log lines
    assert not [line for line in before if not line[:2].isdigit()], done.stderr
    return last


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ("--data.train_manifest={tmp}/none.tsv", "no such file"),
        ("--data.train_manifest={tmp}/empty.tsv", "empty"),
        ("--data.train_manifest={tmp}/lonely.tsv", "1 speaker"),
        ("--engine.max_epoch=3", "the closest is '--engine.max_epochs'"),
        ("--model.init_args.chanels=3", "the closest is '--model.init_args.channels'"),
        ("--model=TDN", "the closest is 'TDNN'"),
        ("--init_from={tmp}/nowhere", "is not a checkpoint"),
        ("--device=abacus", "abacus"),
        ("--data.batch_size=0", "batch_size is 0"),
        ("--engine.validate_every=often", "validate_every is 'often'"),
    ],
)
def test_bad_input_is_one_line_and_status_2(command, recipe_here, tmp_path, option, said):
    (tmp_path / "empty.tsv").write_text("")
    (tmp_path / "lonely.tsv").write_text("a.wav\tme\nb.wav\tme\n")
    before = sorted(path.name for path in tmp_path.iterdir())
    assert said in one_line_error(recipe_here(*command(option.format(tmp=tmp_path))))
    left = sorted(path.name for path in tmp_path.iterdir() if path.name != RUN_DIR)
    assert left == before
    assert not list(tmp_path.glob(f"{RUN_DIR}/*"))


def test_a_misspelt_key_in_a_file_names_the_right_one(command, recipe, tmp_path):
    """In a process of its own, whose exit status and output a user gets."""
    config = tmp_path / "mine.yaml"
    config.write_text("engine:\n  max_epochs: 3\n  clip_nrom: 5.0\n")
    assert "clip_norm" in one_line_error(recipe(*command(f"--config={config}")))


def test_a_checkpoint_of_another_model_is_refused(command, recipe_here, fitted, tmp_path):
    said = one_line_error(recipe_here(*command("--model.init_args.channels=32")))
    assert "config.module.model.init_args.channels was 16, is 32" in said
    other = [option for option in command() if not option.startswith(("--model", "--config"))]
    done = recipe_here(
        *other,
        f"--init_from={fitted}",
        f"--save_dir={tmp_path}/other",
        "--data.augmentations=[]",
    )
    assert "fits this module" in one_line_error(done)


def test_large_margin_fine_tuning_takes_the_whole_classifier(command, recipe_here, tmp_path):
    """A run with speed perturbation, then longer crops, a larger margin and the original speed
    only: the classes of the other speeds remain."""
    speeds = "--data.speed_perturbation.factors=[1.0,0.9,1.1]"
    assert recipe_here(*command(speeds, "--engine.max_epochs=2")).returncode == 0
    done = recipe_here(
        *command(speeds, "--data.speed_perturbation.probability=0", "--engine.max_epochs=2"),
        f"--init_from={tmp_path / 'TDNN_Fbank'}",
        f"--save_dir={tmp_path / 'tuned'}",
        "--data.crop_seconds=0.9",
        "--loss.init_args.margin=0.5",
    )
    assert done.returncode == 0, done.stderr
    assert "not initialised" not in done.stderr
    state = open_checkpoint(tmp_path / "tuned" / RUN_DIR / "last_model").state.to_json()
    assert (state["num_speakers"], state["num_classes"]) == (6, 18)


def test_print_config_can_be_read_back(command, recipe_here, run_py, tmp_path):
    printed = recipe_here(*command("--print_config"))
    assert printed.returncode == 0, printed.stderr
    config = tmp_path / "printed.yaml"
    config.write_text(printed.stdout)
    again = recipe_here(*run_py, "fit", f"--config={config}", "--print_config")
    assert again.stdout == printed.stdout


def test_another_feature_and_masks_are_chosen_on_the_command_line(command, recipe_here):
    feature = [
        "--feature=vprtrain.features.MFCC",
        "--feature.init_args.n_mfcc=20",
        "--model.init_args.input_size=20",
    ]
    masks = [
        "--spec_augment=vprtrain.features.SpecAugment",
        "--spec_augment.init_args.max_time_mask=20",
    ]
    done = recipe_here(*command(*feature, *masks, "--engine.fast_dev_run=1"))
    assert done.returncode == 0, done.stderr
    assert "tried 1 steps" in done.stderr
