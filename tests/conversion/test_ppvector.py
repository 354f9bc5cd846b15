"""ppvector's configuration and classifier as features, losses and heads of vprtrain."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import paddle
import pytest
import yaml

from vprtrain.checkpoint.arrays import encode_arrays
from vprtrain.conversion.ppvector import read_ppvector
from vprtrain.errors import CheckpointError, UsageError
from vprtrain.features import MFCC, Fbank, LogMelSpectrogram, MelSpectrogram, Spectrogram
from vprtrain.losses import AAMLoss, AMLoss, ARMLoss, CELoss, SphereFace2Loss, SubCenterLoss


def tdnn(features: int, embedding: int = 6) -> dict[str, np.ndarray]:
    """Weights with the names of ppvector's TDNN, the shapes that give its sizes, and about its
    number of values."""
    shapes = {
        "td_layer1.weight": (8, features, 5),
        "td_layer5.weight": (8, 8, 1),
        "fc.conv.weight": (embedding, 16, 1),
    }
    shapes["others"] = (9000,)
    return {f"0.{name}": np.zeros(shape, "float32") for name, shape in shapes.items()}


@pytest.fixture
def project(tmp_path) -> Callable[..., Path]:
    """Write a project folder of ppvector with a run and its configuration; the checkpoint's
    folder."""

    def make(
        feature: str = "Fbank",
        feature_args: dict[str, Any] | None = None,
        loss: str = "AAMLoss",
        loss_args: dict[str, Any] | None = None,
        classifier: dict[str, np.ndarray] | None = None,
        features: int = 80,
    ) -> Path:
        config = {
            "dataset_conf": {"sample_rate": 16000, "use_dB_normalization": True, "target_dB": -20},
            "preprocess_conf": {"feature_method": feature, "method_args": feature_args},
            "loss_conf": {"use_loss": loss, "args": loss_args},
            "use_model": "TDNN",
        }
        (tmp_path / "configs").mkdir(exist_ok=True)
        (tmp_path / "configs" / "tdnn.yml").write_text(yaml.safe_dump(config))
        folder = tmp_path / "models" / f"TDNN_{feature}" / "best_model"
        folder.mkdir(parents=True, exist_ok=True)
        weights = tdnn(features) | {
            f"1.{name}": value for name, value in (classifier or {}).items()
        }
        (folder / "model.pdparams").write_bytes(encode_arrays(weights))
        return folder

    return make


@pytest.mark.parametrize(
    ("name", "arguments", "expected"),
    [
        (
            "AAMLoss",
            {"margin": 0.3, "scale": 30, "easy_margin": True},
            AAMLoss(margin=0.3, scale=30, easy_margin=True),
        ),
        ("AAMLoss", None, AAMLoss(margin=0.2, scale=32)),
        ("AMLoss", {"margin": 0.1}, AMLoss(margin=0.1, scale=30)),
        ("ARMLoss", {"margin": 0.1, "scale": 20}, ARMLoss(margin=0.1, scale=20)),
        ("CELoss", {}, CELoss()),
        ("SubCenterLoss", {"K": 2}, SubCenterLoss(margin=0.2, scale=32, centers_per_class=2)),
        (
            "SphereFace2",
            {"margin": 0.15, "lanbuda": 0.6, "t": 2, "margin_type": "A"},
            SphereFace2Loss(
                margin=0.15, scale=32, positive_weight=0.6, exponent=2, margin_type="A"
            ),
        ),
    ],
)
def test_losses(project, name, arguments, expected) -> None:
    assert read_ppvector(project(loss=name, loss_args=arguments), None).loss.spec == expected.spec


@pytest.mark.parametrize(
    ("name", "arguments", "expected"),
    [
        ("Fbank", {"sr": 16000, "n_mels": 80}, Fbank(floor=1e-7, mean_norm=True, level=-20)),
        ("Fbank", None, Fbank(n_mels=23, floor=1e-7, mean_norm=True, level=-20)),
        (
            "Fbank",
            {
                "n_mels": 40,
                "low_freq": 30,
                "window_type": "hamming",
                "frame_length": 20,
                "snip_edges": True,
            },
            Fbank(
                n_mels=40,
                f_min=30,
                window="hamming",
                frame_length_ms=20,
                floor=1e-7,
                mean_norm=True,
                level=-20,
            ),
        ),
        ("Spectrogram", None, Spectrogram(hop_length=512, power=1.0, mean_norm=True, level=-20)),
        (
            "MelSpectrogram",
            {"sr": 16000, "pad_mode": "reflect"},
            MelSpectrogram(n_mels=64, n_fft=2048, hop_length=512, mean_norm=True, level=-20),
        ),
        (
            "LogMelSpectrogram",
            {"sr": 16000, "n_fft": 400, "top_db": None},
            LogMelSpectrogram(n_mels=64, n_fft=400, hop_length=100, mean_norm=True, level=-20),
        ),
        (
            "MFCC",
            {"n_mfcc": 20},
            MFCC(
                n_mfcc=20, n_mels=64, sample_rate=22050, hop_length=128, mean_norm=True, level=-20
            ),
        ),
    ],
)
def test_features(project, name, arguments, expected) -> None:
    folder = project(feature=name, feature_args=arguments)
    foreign = read_ppvector(folder, None)
    assert foreign.feature.spec == expected.spec
    assert foreign.model.input_size == expected.output_size


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (
            {"feature": "LogMelSpectrogram", "feature_args": {"top_db": 80}},
            "with top_db 80 is not supported, only None",
        ),
        (
            {"feature": "MelSpectrogram", "feature_args": {"top_db": 80}},
            "MelSpectrogram cannot be built",
        ),
        ({"feature_args": {"high_freq": 7600}}, "with high_freq 7600 is not supported, only 0"),
        ({"feature_args": {"mels": 80}}, "Fbank cannot be built"),
        ({"feature_args": {"n_mels": 0}}, "Fbank cannot be built"),
        ({"feature": "Wav2Vec2"}, "feature_method is 'Wav2Vec2', expected one of Spectrogram, "),
        ({"loss": "TripletLoss"}, "use_loss is 'TripletLoss', expected one of AAMLoss, "),
        ({"loss_args": {"margin": 9}}, "AAMLoss cannot be built"),
    ],
)
def test_what_cannot_be_had_here_is_said(project, tmp_path, options, said) -> None:
    with pytest.raises(UsageError) as raised:
        read_ppvector(project(**options), None)
    assert said in str(raised.value) and str(tmp_path / "configs" / "tdnn.yml") in str(raised.value)


def test_classifiers(project, caplog) -> None:
    directions = np.arange(30, dtype="float32").reshape(6, 5)
    foreign = read_ppvector(project(classifier={"weight": directions}), None)
    assert foreign.head.keys() == {"weight"} and np.array_equal(foreign.head["weight"], directions)

    linear = {"output.weight": directions, "output.bias": np.ones(5, "float32")}
    assert read_ppvector(project(loss="CELoss", classifier=linear), None).head.keys() == {
        "weight",
        "bias",
    }

    assert read_ppvector(project(), None).head == {}
    assert "classifier" not in caplog.text
    deeper = {"weight": directions, "blocks.0.linear.weight": np.ones((6, 6, 1), "float32")}
    assert read_ppvector(project(classifier=deeper), None).head == {}
    assert "the classifier is left out" in caplog.text


def test_what_is_known_of_the_run_comes_along(project, caplog) -> None:
    folder = project()
    state = {
        "last_epoch": 60,
        "version": "1.0.2",
        "eer": 0.1,
        "min_dcf": float("nan"),
        "threshold": 0.4,
    }
    (folder / "model.state").write_text(json.dumps(state))
    foreign = read_ppvector(folder, None)
    assert foreign.measured == {"eer": 0.1, "threshold": 0.4}
    assert foreign.origin == {"version": "1.0.2", "last_epoch": 60, "config": "tdnn.yml"}
    assert foreign.sample_rate == 16000
    assert foreign.feature.init_args["level"] == -20


def test_the_run_directory_stands_for_its_best_model(project) -> None:
    folder = project()
    assert read_ppvector(folder.parent, None).model.spec == read_ppvector(folder, None).model.spec


def test_the_configuration_is_looked_for_around_the_checkpoint(project, tmp_path) -> None:
    folder = project()
    config = tmp_path / "configs" / "tdnn.yml"
    text = config.read_text()
    (tmp_path / "configs" / "other.yml").write_text(text.replace("TDNN", "CAMPPlus"))
    (tmp_path / "configs" / "augment.yml").write_text("noise: 1")
    assert read_ppvector(folder, None).origin["config"] == "tdnn.yml"

    (tmp_path / "configs" / "tdnn2.yml").write_text(text)
    with pytest.raises(
        UsageError, match=r"any of tdnn.yml, tdnn2.yml in .*: choose one with --source_config"
    ):
        read_ppvector(folder, None)
    assert read_ppvector(folder, tmp_path / "configs" / "tdnn2.yml").origin["config"] == "tdnn2.yml"

    (tmp_path / "configs" / "tdnn2.yml").unlink()
    elsewhere = folder.rename(
        tmp_path / "copied"
    )  # no file is named after the model, so its weights decide
    assert read_ppvector(elsewhere, None).origin["config"] == "tdnn.yml"
    with pytest.raises(UsageError, match=r"other\.yml is of a CAMPPlus, .*copied of a TDNN"):
        read_ppvector(elsewhere, tmp_path / "configs" / "other.yml")

    elsewhere.rename(folder)
    config.rename(folder / "nearer.yml")
    assert read_ppvector(folder, None).origin["config"] == "nearer.yml"
    (folder / "nearer.yml").unlink()
    for path in (tmp_path / "configs").iterdir():
        path.unlink()
    with pytest.raises(UsageError, match="no configuration of ppvector was found around"):
        read_ppvector(folder, None)


@pytest.mark.parametrize(
    "text",
    ["", "- a", "use_model: TDNN", "a: [", "!!python/object/apply:os.system ['touch x']", "\0"],
)
def test_another_configuration_is_refused_and_executes_nothing(
    project, tmp_path, monkeypatch, text
) -> None:
    folder = project()
    monkeypatch.chdir(tmp_path)
    (tmp_path / "other.yml").write_text(text)
    with pytest.raises(UsageError, match=r"other\.yml is not a configuration of ppvector"):
        read_ppvector(folder, tmp_path / "other.yml")
    assert not (tmp_path / "x").exists()


def test_other_folders_and_files_are_refused(project, tmp_path) -> None:
    with pytest.raises(UsageError, match="is not a checkpoint of ppvector"):
        read_ppvector(tmp_path / "missing", None)
    folder = project()
    (folder / "model.state").write_text("{")
    with pytest.raises(CheckpointError, match=r"model\.state cannot be read as JSON"):
        read_ppvector(folder, None)
    (folder / "model.state").unlink()
    (folder / "model.pdparams").write_bytes(encode_arrays({"conv.weight": np.zeros(3)}))
    with pytest.raises(CheckpointError, match=r"expected names that begin with 0\. or 1\."):
        read_ppvector(folder, None)


def test_what_paddle_saves_is_read(project) -> None:
    folder = project()
    weights = {name: paddle.to_tensor(value) for name, value in tdnn(80).items()}
    paddle.save(weights, str(folder / "model.pdparams"))
    assert read_ppvector(folder, None).weights.keys() == {name[2:] for name in weights}
