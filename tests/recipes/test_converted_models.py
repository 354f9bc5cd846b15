"""A model of another toolkit in the recipe: it is validated, and a new run starts from it, its
classifier included."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from torch_files import saved, zip_file

from vprtrain.checkpoint.state_file import open_checkpoint
from vprtrain.conversion.converting import convert


@pytest.fixture(scope="module")
def converted(tmp_path_factory) -> Path:
    """A small x-vector network in WeSpeaker's format, with a classifier for the corpus's six
    speakers."""
    rng = np.random.default_rng(0)
    weights = {}
    for i, (after, before, kernel) in enumerate(
        [(8, 80, 5), (8, 8, 3), (8, 8, 3), (8, 8, 1), (12, 8, 1)], start=1
    ):
        weights[f"frame_{i}.conv_1d.weight"] = rng.standard_normal((after, before, kernel)) / before
        weights[f"frame_{i}.conv_1d.bias"] = np.zeros(after)
        weights[f"frame_{i}.bn.running_mean"] = np.zeros(after)
        weights[f"frame_{i}.bn.running_var"] = np.ones(after)
    weights |= {"seg_1.weight": rng.standard_normal((6, 24)), "seg_1.bias": np.zeros(6)}
    weights["projection.weight"] = rng.standard_normal((6, 6))
    folder = tmp_path_factory.mktemp("converted")
    (folder / "avg_model.pt").write_bytes(
        zip_file({name: saved(value.astype("float32")) for name, value in weights.items()})
    )
    convert("wespeaker", folder / "avg_model.pt", folder / "model")
    return folder / "model"


def test_it_is_validated_on_any_trials(recipe_here, run_py, corpus, converted) -> None:
    command = [*run_py, "validate", f"--checkpoint={converted}", "--json"]
    done = recipe_here(*command)
    assert done.returncode == 2 and "give --data.trials and --data.eval_manifest" in done.stderr
    trials = [
        f"--data.trials={corpus / 'trials.txt'}",
        f"--data.eval_manifest={corpus / 'eval.tsv'}",
    ]
    done = recipe_here(*command, *trials, f"--data.enroll={corpus / 'enroll.map'}")
    assert done.returncode == 0, done.stderr
    assert 0 <= json.loads(done.stdout)["eer"] <= 1


def test_a_new_run_starts_from_it(recipe_here, run_py, corpus, converted, tmp_path) -> None:
    done = recipe_here(
        *run_py,
        "fit",
        f"--config={converted / 'config.yaml'}",
        f"--init_from={converted}",
        f"--save_dir={tmp_path}",
        f"--data.train_manifest={corpus / 'train.tsv'}",
        "--data.batch_size=4",
        "--data.crop_seconds=0.6",
        "--engine.max_steps=1",
        "--engine.validate_every=never",
        "--optimizer.init_args.learning_rate=0",
    )
    assert done.returncode == 0, done.stderr
    assert (
        "initialised 23 tensors from the 23 arrays" in done.stderr
        and "not initialised" not in done.stderr
    )
    before = open_checkpoint(converted).arrays("model.pdparams")
    after = open_checkpoint(tmp_path / "TDNN_Fbank" / "last_model").arrays("model.pdparams")
    trained = [name for name in before if not name.endswith(("._mean", "._variance"))]
    assert before.keys() == after.keys() and len(trained) == 13
    assert all(np.array_equal(before[name], after[name]) for name in trained)
