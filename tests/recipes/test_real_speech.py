"""Training on real speech in CN-Celeb's layout, through the recipe."""

import json
import subprocess
import sys

import pytest


@pytest.mark.real
def test_real_voices_are_learnt(test_data, recipe, run_py, tmp_path, capsys):
    """294 training speakers, 69 unseen ones; a compact x-vector network, a few minutes."""
    pack = test_data / "dev_pack"
    subprocess.run(
        [sys.executable, pack / "make_layouts.py", pack, tmp_path, "cnceleb"], check=True
    )
    manifests = tmp_path / "manifests"
    prepared = recipe(
        *run_py, "prepare", f"--cnceleb1={tmp_path / 'CN-Celeb_flac'}", f"--out_dir={manifests}"
    )
    assert prepared.returncode == 0, prepared.stderr
    assert "294 speakers" in prepared.stdout

    def fit(name, *more):
        done = recipe(
            *run_py,
            "fit",
            "--config=demo",
            f"--save_dir={tmp_path / name}",
            f"--data.train_manifest={manifests / 'train.tsv'}",
            f"--data.eval_manifest={manifests / 'eval.tsv'}",
            f"--data.trials={manifests / 'trials.txt'}",
            f"--data.enroll={manifests / 'enroll.map'}",
            *more,
            timeout=1500,
        )
        assert done.returncode == 0, done.stderr
        return tmp_path / name / "TDNN_Fbank"

    def eer(checkpoint):
        validated = recipe(*run_py, "validate", f"--checkpoint={checkpoint}", "--json", timeout=300)
        assert validated.returncode == 0, validated.stderr
        return json.loads(validated.stdout)["eer"]

    # One step at a learning rate of zero: the untrained network as a checkpoint.
    no_change = (
        "--optimizer.init_args.learning_rate=0",
        "--engine.max_steps=1",
        "--callbacks=[Checkpoint]",
    )
    untrained = eer(fit("untrained", *no_change) / "last_model")
    trained = eer(fit("trained", "--engine.max_epochs=14", "--engine.validate_every=7 epochs"))
    with capsys.disabled():
        print(
            "\nreal speech, 69 unseen speakers: "
            f"EER {untrained:.2%} untrained, {trained:.2%} trained"
        )
    assert untrained > 0.15
    assert trained < 0.65 * untrained
