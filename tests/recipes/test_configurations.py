"""Every recipe's configuration files, unchanged, for one step of training and one of validation."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
import yaml

from vprtrain.callbacks import default_callbacks
from vprtrain.commands.config import CommandParser
from vprtrain.commands.fit import fit
from vprtrain.data.manifest import write_manifest
from vprtrain.recipes import RECIPES

CONFIGURATIONS = sorted(
    recipe.config_file(name)
    for recipe in RECIPES.values()
    for name in recipe.config_names()
    if name != "demo"
)
PUBLISHED = [path for path in CONFIGURATIONS if path.parent.name != "own"]


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the ``out_dir`` of every recipe, filled as by ``prepare``, but with noise."""
    folder = tmp_path_factory.mktemp("prepared")
    noise = np.random.default_rng(0).normal(0, 0.1, (6, 12000))
    for index, samples in enumerate(noise):
        soundfile.write(folder / f"{index}.wav", samples, 16000)
    paths = [str(folder / f"{index}.wav") for index in range(len(noise))]
    for recipe in RECIPES.values():
        data = folder / recipe.out_dir
        data.mkdir(parents=True, exist_ok=True)
        write_manifest(
            data / "train.tsv", [(path, f"s{index % 3}", 0.75) for index, path in enumerate(paths)]
        )
        write_manifest(
            data / "eval.tsv", [(f"u{index}", path, 0.75) for index, path in enumerate(paths)]
        )
        write_manifest(data / "musan.tsv", [(paths[0], "noise", 0.75), (paths[1], "speech", 0.75)])
        write_manifest(data / "rirs.tsv", [(paths[2], "smallroom", 0.75)])
        for trials in ("trials.txt", "vox1_o.txt"):
            (data / trials).write_text("u0 u1 1\nu0 u2 0\n")
        (data / "enroll.map").write_text("u0 u0 u3\n")
    return folder


@pytest.mark.parametrize(
    "path",
    [
        pytest.param(
            path,
            marks=() if path.stem == "campplus" else pytest.mark.slow,
            id=f"{path.parent.name}/{path.stem}",
        )
        for path in CONFIGURATIONS
    ],
)
def test_it_is_tried_out(
    path: Path, prepared: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.chdir(prepared)
    options = [
        f"--config={path}",
        "--engine.fast_dev_run=1",
        "--data.batch_size=2",
        "--data.crop_seconds=0.6",
    ]
    with caplog.at_level("INFO"):
        assert fit(CommandParser(), [*options, "--data.workers=0"]) == 0
    assert "tried 1 steps" in caplog.text
    assert not (prepared / "models").exists()


@pytest.mark.parametrize("path", CONFIGURATIONS, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_it_has_the_default_callbacks(path: Path) -> None:
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    listed = {each["class_path"].rpartition(".")[2] for each in content["callbacks"]}
    assert {type(callback).__name__ for callback in default_callbacks()} - listed == set()


@pytest.mark.parametrize("path", PUBLISHED, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_it_says_where_it_comes_from(path: Path) -> None:
    comment = [
        line for line in path.read_text(encoding="utf-8").splitlines() if line.startswith("#")
    ]
    text = " ".join(line.removeprefix("# ") for line in comment)
    assert any(
        f"after {toolkit}'s" in text for toolkit in ("3D-Speaker", "WeSpeaker", "SpeechBrain")
    )
    assert "Batch" in text and "GPUs" in text


def test_every_network_has_one() -> None:
    from vprtrain import models

    texts = "".join(path.read_text(encoding="utf-8") for path in PUBLISHED)
    named = {name for name in models.__all__ if f"vprtrain.models.{name}\n" in texts}
    # An interface, and a network of another toolkit that is there for its weights.
    others = {"SpeakerEncoder", "PPVectorRes2Net"}
    assert named == set(models.__all__) - others
