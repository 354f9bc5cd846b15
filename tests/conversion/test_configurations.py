"""The configuration of a toolkit beside its weights: what it says is taken, nothing in it runs, and
what vprtrain cannot do is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from vprtrain.conversion.configurations import Configuration, find_configuration
from vprtrain.errors import UsageError

HYPERPARAMS = """
pretrained_path: speechbrain/spkrec-ecapa-voxceleb
seed: 1986
__set_seed: !apply:torch.manual_seed [!ref <seed>]
data_folder: !PLACEHOLDER
sample_rate: 8000
n_mels: 60
compute_features: !new:speechbrain.lobes.features.Fbank
    n_mels: !ref <n_mels>
    left_frames: 0
    deltas: False
mean_var_norm: !new:speechbrain.processing.features.InputNormalization
    norm_type: sentence
    std_norm: False
embedding_model: &model !new:speechbrain.lobes.models.ECAPA_TDNN.ECAPA_TDNN
    input_size: !ref <n_mels>
    activation: !name:torch.nn.LeakyReLU
modules:
    embedding_model: *model
"""
WESPEAKER: dict[str, Any] = {
    "model": "ResNet34",
    "model_args": {"feat_dim": 40, "embed_dim": 256, "pooling_func": "MQMHASTP"},
    "dataset_args": {
        "resample_rate": 8000,
        "fbank_args": {"num_mel_bins": 40, "frame_shift": 10, "frame_length": 25, "dither": 1.0},
        "cmvn_args": {"norm_mean": True, "norm_var": False},
    },
}
MODELSCOPE = {
    "framework": "pytorch",
    "model": {
        "type": "cam++-sv",
        "model_config": {"sample_rate": 16000, "fbank_dim": 80, "emb_size": 192},
        "pretrained_model": "campplus_cn_common.bin",
    },
}
TRAINING = {
    "sample_rate": 16000,
    "fbank_dim": 80,
    "embedding_size": 512,
    "feature_extractor": {"obj": "FBank", "args": {"n_mels": "<fbank_dim>", "mean_nor": False}},
}


def found(toolkit: str, folder: Path, name: str, text: str) -> Configuration | None:
    (folder / name).write_text(text)
    return find_configuration(toolkit, folder / "weights.pt", None)


def test_hyperparams_of_speechbrain(tmp_path: Path) -> None:
    path = tmp_path / "hyperparams.yaml"
    assert found("speechbrain", tmp_path, path.name, HYPERPARAMS) == Configuration(
        path=path, sizes={"input_size": 60}, sample_rate=8000, feature={"mean_norm": True}
    )


def test_config_of_wespeaker(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    assert found("wespeaker", tmp_path, path.name, yaml.safe_dump(WESPEAKER)) == Configuration(
        path=path,
        sizes={"input_size": 40, "embedding_dim": 256},
        pooling="MQMHA",
        sample_rate=8000,
        feature={
            **{"n_mels": 40, "frame_length_ms": 25, "frame_shift_ms": 10},
            **{"mean_norm": True, "variance_norm": False},
        },
    )


@pytest.mark.parametrize(
    ("name", "text", "sizes", "feature"),
    [
        ("configuration.json", json.dumps(MODELSCOPE), (80, 192), {}),
        ("config.yaml", yaml.safe_dump(TRAINING), (80, 512), {"mean_norm": False}),
    ],
)
def test_configurations_of_3d_speaker(
    tmp_path: Path, name: str, text: str, sizes: tuple[int, int], feature: dict[str, bool]
) -> None:
    assert found("3dspeaker", tmp_path, name, text) == Configuration(
        path=tmp_path / name,
        sizes=dict(zip(("input_size", "embedding_dim"), sizes, strict=True)),
        feature=feature,
    )


def test_another_toolkits_file_is_left_alone_unless_it_is_named(tmp_path: Path) -> None:
    text = yaml.safe_dump(WESPEAKER)
    assert found("3dspeaker", tmp_path, "config.yaml", text) is None
    assert find_configuration("speechbrain", tmp_path / "weights.pt", None) is None
    path = tmp_path / "config.yaml"
    with pytest.raises(UsageError, match=r"is not a configuration of 3dspeaker: expected its conf"):
        find_configuration("3dspeaker", tmp_path / "weights.pt", path)


@pytest.mark.parametrize(
    ("toolkit", "text", "said"),
    [
        (
            "speechbrain",
            HYPERPARAMS.replace("lobes.features.Fbank", "lobes.features.MFCC"),
            "compute_features is 'new:speechbrain.lobes.features.MFCC'.*give --feature",
        ),
        ("speechbrain", HYPERPARAMS.replace("deltas: False", "deltas: True"), "'deltas': True"),
        ("speechbrain", HYPERPARAMS.replace("sentence", "global"), "mean_var_norm is .*'global'"),
        ("speechbrain", HYPERPARAMS.replace("n_mels: 60", "n_mels: [60]"), "input_size is"),
        (
            "wespeaker",
            yaml.safe_dump({**WESPEAKER, "dataset_args": {"frontend": "s3prl"}}),
            "the front end is 's3prl', a network of its own",
        ),
        (
            "wespeaker",
            yaml.safe_dump({**WESPEAKER, "dataset_args": {"resample_rate": "16k"}}),
            "the sample rate is '16k'",
        ),
        ("3dspeaker", "[" * 100_000, "cannot be read"),
        ("3dspeaker", "fbank_dim: 80\nembedding_size: -1", "embedding_dim is -1"),
    ],
)
def test_what_cannot_be_done_is_said(tmp_path: Path, toolkit: str, text: str, said: str) -> None:
    name = {"speechbrain": "hyperparams.yaml"}.get(toolkit, "config.yaml")
    with pytest.raises(UsageError, match=said) as raised:
        found(toolkit, tmp_path, name, text)
    assert name in str(raised.value) and len(str(raised.value)) < 700


@pytest.mark.parametrize(
    "line",
    [
        "a: !!python/object/apply:os.system ['touch HERE']",
        "a: !!python/object/new:subprocess.Popen [['touch', 'HERE']]",
        "a: !!python/name:os.system",
        "a: !new:os.system\n    command: touch HERE",
        "a: !apply:os.system ['touch HERE']",
        "a: !include:HERE",
        "a: !copy <n_mels>",
    ],
)
def test_no_code_of_a_configuration_runs(
    tmp_path: Path, line: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    text = f"{HYPERPARAMS}\n{line.replace('HERE', str(tmp_path / 'here'))}\n"
    if "!!python" in line:
        with pytest.raises(UsageError, match="could not determine a constructor"):
            found("speechbrain", tmp_path, "hyperparams.yaml", text)
    else:
        assert found("speechbrain", tmp_path, "hyperparams.yaml", text) is not None
    assert not (tmp_path / "here").exists()


def test_aliases_without_end_are_refused(tmp_path: Path) -> None:
    bomb = "a0: &a0 !x [1, 2]\n" + "".join(
        f"a{n}: &a{n} !x [*a{n - 1}, *a{n - 1}, *a{n - 1}]\n" for n in range(1, 40)
    )
    for text in (bomb, "a: &a !x [*a]", f"n_mels: 80\nx: {'y' * 200_000}"):
        with pytest.raises(UsageError, match="cannot be read"):
            found("speechbrain", tmp_path, "hyperparams.yaml", text)
