"""Real speech in the layout of the real archives, through the real commands: prepare, some steps of
fit, validate."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from vprtrain.checkpoint.state_file import open_checkpoint

RECIPES = Path(__file__).resolve().parents[2] / "recipes"
SMALL = (
    "--model=vprtrain.models.TDNN",
    "--model.init_args.channels=32",
    "--model.init_args.pooled_channels=48",
    "--model.init_args.embedding_dim=32",
    "--data.batch_size=32",
    "--data.crop_seconds=1.5",
    "--engine.max_steps=6",
    "--engine.log_every=2",
    "--callbacks=[EtaLogger,Checkpoint]",
    "--optimizer.init_args.learning_rate=0.01",
)


CONCATENATED = (
    "--data.trials=data/cnceleb/trials.txt",
    "--data.eval_manifest=data/cnceleb/eval.tsv",
)


@pytest.mark.parametrize(
    ("layout", "utterances", "given", "validated_on"),
    [
        ("cnceleb", "6", ("--cnceleb1={}/CN-Celeb_flac", "--join_seconds=2"), CONCATENATED),
        ("voxceleb", "3", ("--vox1={}/voxceleb1", "--train=vox1"), ()),
    ],
)
def test_from_the_archives_to_a_validated_model(
    recipe_here, test_data, tmp_path, monkeypatch, layout, utterances, given, validated_on
) -> None:
    pack, noise = test_data / "dev_pack", test_data / "noise_pack"
    command = [
        sys.executable,
        pack / "make_layouts.py",
        pack,
        tmp_path,
        layout,
        "--max-per-speaker",
        utterances,
    ]
    subprocess.run(command, check=True, capture_output=True)

    monkeypatch.chdir(tmp_path)

    def done(*command: str) -> str:
        process = recipe_here(sys.executable, str(RECIPES / layout / "run.py"), *command)
        assert process.returncode == 0, process.stderr
        return process.stdout

    options = [option.format(tmp_path) for option in given]
    prepared = done(
        "prepare", *options, f"--musan={noise}", f"--rirs={noise}", "--shards", "--check"
    )
    assert (
        "294 speakers in train.tsv" in prepared and "42 noise recordings in musan.tsv" in prepared
    )
    assert "bad" not in prepared

    # The recipe's own configuration: its speed perturbation, noise, rooms and default paths.
    done(
        "fit",
        "--config=campplus",
        *SMALL,
        f"--data.shards=data/{layout}/shards",
    )
    saved = open_checkpoint(tmp_path / "models" / "TDNN_Fbank" / "last_model")
    assert (saved.state.own["num_speakers"], saved.state.own["num_classes"]) == (294, 3 * 294)

    validated = json.loads(
        done("validate", f"--checkpoint={saved.folder}", *validated_on, "--json")
    )
    trained = {**saved.state.metrics, "backend": "cosine"}
    assert 0 < validated["eer"] < 0.6
    # The averaged enrolment gives other scores than the concatenated one.
    assert (validated == trained) == (validated_on == ())
