"""Models of other toolkits become checkpoints with the source's embeddings."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import paddle
import pytest
import yaml
from reference_weights import reference_features, reference_weight, reference_weights
from torch_files import legacy_file, saved, zip_file

from vprtrain.__main__ import main
from vprtrain.checkpoint.arrays import encode_arrays
from vprtrain.checkpoint.state_file import SavedCheckpoint, open_checkpoint
from vprtrain.commands import program
from vprtrain.conversion.architectures import ARCHITECTURES
from vprtrain.conversion.front_ends import TOOLKIT_NAMES
from vprtrain.engine.persistence import initialise
from vprtrain.errors import UsageError
from vprtrain.features import Fbank, SpeechBrainFbank
from vprtrain.losses import AAMLoss
from vprtrain.models import TDNN
from vprtrain.speaker.module import SpeakerModule

Weights = dict[str, np.ndarray]

PARITY = Path(__file__).parents[1] / "parity"
TOOLKITS = {
    **dict.fromkeys(("campplus_192", "res2net", "xvector_512", "3dspeaker_resnet34"), "3dspeaker"),
    **dict.fromkeys(
        (
            *("resnet34_256", "wespeaker_campplus_512", "wespeaker_resnet18"),
            *("wespeaker_df_resnet60", "wespeaker_repvgg_tiny_a0_deploy"),
            *("wespeaker_ecapa_glob_c512", "wespeaker_redimnet_b0", "wespeaker_xvec_512"),
        ),
        "wespeaker",
    ),
    **dict.fromkeys(("ecapa_c512", "speechbrain_xvector"), "speechbrain"),
    **dict.fromkeys(
        (f"ppvector_{name}_192" for name in ("campplus", "res2net", "tdnn")), "ppvector"
    ),
}
LARGE = {
    **dict.fromkeys(("campplus_512", "eres2net_m32", "eres2net_m64", "eres2netv2"), "3dspeaker"),
    **dict.fromkeys(
        (
            *("wespeaker_resnet34_mqmhastp", "wespeaker_resnet221", "wespeaker_simam_resnet34"),
            *("wespeaker_repvgg_tiny_a0", "wespeaker_eres2net34_base", "wespeaker_res2net34_base"),
            *("wespeaker_ecapa_c512_mqmhastp", "wespeaker_xi_ecapa_c512", "wespeaker_redimnet_b2"),
        ),
        "wespeaker",
    ),
    **dict.fromkeys(("ecapa_c1024", "speechbrain_resnet"), "speechbrain"),
    **dict.fromkeys(
        ("ppvector_ecapa_c512", "ppvector_eres2net_192", "ppvector_resnet_se_192"), "ppvector"
    ),
}
PPVECTOR_MODELS = {
    **{
        "ppvector_campplus_192": "CAMPPlus",
        "ppvector_ecapa_c512": "EcapaTdnn",
        "ppvector_eres2net_192": "ERes2Net",
    },
    **{
        "ppvector_res2net_192": "Res2Net",
        "ppvector_resnet_se_192": "ResNetSE",
        "ppvector_tdnn_192": "TDNN",
    },
}


@pytest.fixture
def convert(capfd) -> Callable[..., tuple[int, str]]:
    """Run the command in this process; its exit status, standard output and standard error."""

    def run(*arguments: object) -> tuple[int, str]:
        status = program.status(main, ["convert", *map(str, arguments)])
        shown = capfd.readouterr()
        return status, shown.out if status == 0 else shown.err

    return run


@pytest.fixture
def refused(convert, tmp_path) -> Callable[..., str]:
    """Run a conversion that must write nothing; its one line of refusal."""

    def run(status: int, *arguments: object) -> str:
        before = sorted(tmp_path.rglob("*"))
        found, said = convert(*arguments, tmp_path / "out")
        lines = [line for line in said.splitlines() if line.startswith("error: ")]
        assert (found, len(lines)) == (status, 1), said
        assert sorted(tmp_path.rglob("*")) == before
        return lines[0]

    return run


def opened(folder: Path) -> tuple[SavedCheckpoint, SpeakerModule]:
    checkpoint = open_checkpoint(folder)
    return checkpoint, SpeakerModule.from_checkpoint(checkpoint)


def by_rule(keys: list) -> Weights:
    return {name: reference_weight(name, shape) for name, shape in keys}


def write_torch(path: Path, weights: Weights, write: Callable[..., bytes] = zip_file) -> Path:
    path.write_bytes(write({name: saved(value) for name, value in weights.items()}))
    return path


def write_ppvector(folder: Path, weights: Weights, config: Mapping[str, object]) -> Path:
    """Write a project folder of ppvector with one checkpoint; the checkpoint's folder."""
    data = {"sample_rate": 16000, "use_dB_normalization": False, "target_dB": -20}
    (folder / "configs").mkdir(parents=True, exist_ok=True)
    text = yaml.safe_dump({"dataset_conf": data, **config})
    (folder / "configs" / f"{config['use_model']}.yml").write_text(text)
    features = config["preprocess_conf"]
    checkpoint = (
        folder / "models" / f"{config['use_model']}_{features['feature_method']}" / "best_model"
    )
    checkpoint.mkdir(parents=True)
    (checkpoint / "model.pdparams").write_bytes(encode_arrays(weights))
    state = {
        "last_epoch": 3,
        "version": "1.0.2",
        "threshold": 0.35,
        "eer": 0.12,
        "min_dcf": 0.9,
        "margin": 0.2,
    }
    (checkpoint / "model.state").write_text(json.dumps(state))
    return checkpoint


def ppvector_config(model: str = "TDNN", **loss: object) -> dict[str, object]:
    return {
        "use_model": model,
        "preprocess_conf": {"feature_method": "Fbank", "method_args": {"sr": 16000, "n_mels": 80}},
        "loss_conf": {"use_loss": "AAMLoss", "args": {"margin": 0.3, "scale": 30}, **loss},
    }


def small_xvector(
    *, mels: int = 80, channels: int = 8, pooled: int = 12, embedding: int = 6
) -> Weights:
    """A small x-vector network with 3D-Speaker's names."""
    weights: Weights = {}
    widths = [mels, channels, channels, channels, channels, pooled]
    for i, kernel in enumerate((5, 3, 3, 1, 1)):
        weights |= by_rule([(f"frame_{i + 1}.conv_1d.weight", (widths[i + 1], widths[i], kernel))])
        weights |= by_rule([(f"frame_{i + 1}.conv_1d.bias", (widths[i + 1],))])
        weights |= by_rule(
            [
                (f"frame_{i + 1}.bn.{part}", (widths[i + 1],))
                for part in ("running_mean", "running_var")
            ]
        )
        weights |= by_rule([(f"frame_{i + 1}.bn.num_batches_tracked", ())])
    return weights | by_rule(
        [("seg_1.weight", (embedding, 2 * pooled)), ("seg_1.bias", (embedding,))]
    )


@pytest.mark.parametrize(
    ("name", "toolkit"),
    [
        *TOOLKITS.items(),
        *(pytest.param(name, toolkit, marks=pytest.mark.slow) for name, toolkit in LARGE.items()),
    ],
)
def test_embeddings_after_conversion_are_the_references(
    convert, tmp_path, name: str, toolkit: str
) -> None:
    """The converter reads reproducible weights from a file of their toolkit; the embeddings are
    those of the reference itself."""
    reference = json.loads((PARITY / f"{name}.json").read_text())
    weights = reference_weights(reference["keys"])
    if toolkit == "ppvector":
        weights = {f"0.{key}": value for key, value in weights.items()}
        source = write_ppvector(tmp_path, weights, ppvector_config(PPVECTOR_MODELS[name]))
    else:
        source = write_torch(
            tmp_path / "model.pt", weights, legacy_file if toolkit == "speechbrain" else zip_file
        )
    status, said = convert("--from", toolkit, source, tmp_path / "out")
    assert status == 0, said
    _, module = opened(tmp_path / "out")
    frames, embedding = next(iter(reference["outputs"].items()))
    with paddle.no_grad():
        features = reference_features(int(frames), module.model.input_size)
        ours = module.model(paddle.to_tensor(features)).numpy()[0]
    expected = np.asarray(embedding)
    np.testing.assert_allclose(ours, expected, rtol=0, atol=1e-4 * np.abs(expected).max())
    assert 1 - ours @ expected / np.linalg.norm(ours) / np.linalg.norm(expected) < 1e-6


AUDIO = json.loads((Path(__file__).parent / "ppvector_audio.json").read_text())["cases"]


def test_a_network_with_features_of_its_own_is_refused(refused, tmp_path) -> None:
    """ID R&D's files hold the steps of its features, which are no toolkit's."""
    reference = json.loads((PARITY / "redimnet_b2.json").read_text())
    weights = reference_weights(reference["keys"])
    weights |= by_rule([("spec.torchfbank.1.flipped_filter", (1, 1, 2))])
    source = write_torch(tmp_path / "b2-vox2-ft_lm.pt", weights)
    assert "their features are not known: give --feature" in refused(2, "--from=wespeaker", source)
    said = refused(1, "--from=wespeaker", "--front_end=wespeaker", source)
    assert "not those of this ReDimNet" in said and "spec.torchfbank.1.flipped_filter" in said


@pytest.mark.parametrize("name", AUDIO)
def test_ppvector_from_audio_to_scores(convert, tmp_path, name: str) -> None:
    """Features, encoder and classifier against stored values of ppvector 1.0.2 for the same
    waveform and weights."""
    case = AUDIO[name]
    time = np.arange(24000) / 16000
    waveform = 0.1 * np.sin(2 * np.pi * 220 * time) + 0.05 * np.sin(
        2 * np.pi * 1234 * time * (1 + 0.1 * time)
    )
    waveform = (waveform + 0.01 * np.random.default_rng(7).standard_normal(24000)).astype("float32")
    source = write_ppvector(tmp_path, by_rule(case["keys"]), case["config"])
    assert convert("--from", "ppvector", source, tmp_path / "out")[0] == 0
    _, module = opened(tmp_path / "out")
    ours = module.embed(waveform[np.newaxis])
    expected = np.asarray(case["embedding"])
    np.testing.assert_allclose(
        ours.numpy()[0], expected, rtol=0, atol=1e-4 * np.abs(expected).max()
    )
    scores = np.asarray(case["scores"])
    np.testing.assert_allclose(
        module.head(ours).numpy()[0], scores, rtol=0, atol=1e-4 * np.abs(scores).max()
    )


def test_each_toolkit_has_its_own_features(convert, tmp_path) -> None:
    source = write_torch(tmp_path / "model.pt", small_xvector())
    speechbrain = ("3dspeaker", "--front_end=speechbrain")
    expected = {
        ("3dspeaker",): (Fbank(mean_norm=True), "3D-Speaker's, by --from"),
        ("wespeaker",): (
            Fbank(mean_norm=True, window="hamming", int16_scale=True),
            "WeSpeaker's, by --from",
        ),
        speechbrain: (SpeechBrainFbank(mean_norm=True), "SpeechBrain's, by --front_end"),
    }
    for place, ((toolkit, *options), (feature, reason)) in enumerate(expected.items()):
        out = tmp_path / str(place)
        status, said = convert("--from", toolkit, *options, source, out)
        assert status == 0 and reason in said
        saved_checkpoint, module = opened(out)
        assert module.feature.spec == feature.spec
        origin = saved_checkpoint.state.extra["converted_from"]
        assert origin["toolkit"] == toolkit and origin["front_end"].startswith(reason)


def test_the_names_of_another_toolkit_are_refused(refused, tmp_path) -> None:
    """Else they would get features that they were not trained with."""
    source = write_torch(tmp_path / "model.pt", small_xvector())
    line = refused(2, "--from=speechbrain", source)
    assert "have the names of 3D-Speaker or WeSpeaker, not of SpeechBrain" in line
    assert "--from 3dspeaker or --from wespeaker" in line and "--front_end speechbrain" in line
    projection = by_rule([("projection.weight", (7, 6))])
    source = write_torch(tmp_path / "avg_model.pt", small_xvector() | projection)
    assert "have the names of WeSpeaker, not of 3D-Speaker" in refused(
        2, "--from=3dspeaker", source
    )


def test_every_family_says_which_toolkits_save_it() -> None:
    named = {name for family in ARCHITECTURES for name in family.toolkits}
    assert named == TOOLKIT_NAMES.keys()


def test_the_models_of_wespeakers_hub_get_the_features_that_wespeaker_gives_them(
    convert, tmp_path
) -> None:
    case = json.loads((PARITY / "wespeaker_campplus_512.json").read_text())
    for folder, window in (("campplus", "povey"), ("of_my_own", "hamming")):
        (tmp_path / folder).mkdir()
        source = write_torch(tmp_path / folder / "avg_model.pt", by_rule(case["keys"]))
        status, said = convert("--from=wespeaker", source, tmp_path / f"{folder}_out")
        assert status == 0
        assert ("WeSpeaker itself uses" in said) is (folder == "campplus")
        assert ("need --front_end 3dspeaker" in said) is (folder != "campplus")
        _, module = opened(tmp_path / f"{folder}_out")
        feature = Fbank(mean_norm=True, window=window, int16_scale=window == "hamming")
        assert module.feature.spec == feature.spec
        assert module.model.init_args["pooling_eps"] == 1e-7


def test_model_and_feature_are_the_users_to_say(convert, refused, tmp_path) -> None:
    source = write_torch(tmp_path / "model.pt", small_xvector(mels=40))
    model = "{class_path: TDNN, init_args: {negative_slope: 0.2}}"
    feature = "{class_path: Fbank, init_args: {n_mels: 40, f_max: 7600, mean_norm: true}}"
    options = ("--from=3dspeaker", f"--model={model}", f"--feature={feature}")
    status, said = convert(*options, source, tmp_path / "converted")
    assert status == 0 and "as --feature says" in said
    _, module = opened(tmp_path / "converted")
    assert module.model.init_args["negative_slope"] == 0.2
    assert module.feature.spec == Fbank(n_mels=40, f_max=7600, mean_norm=True).spec

    assert "are of a TDNN, not of a ResNet34" in refused(
        1, "--from=3dspeaker", "--model=ResNet34", source
    )
    assert "vprtrain.features.Sound" in refused(2, "--from=3dspeaker", "--feature=Sound", source)
    assert "expected the name of a class" in refused(2, "--from=3dspeaker", "--model=[1]", source)
    (tmp_path / "pp").mkdir()
    assert "leave out --model" in refused(2, "--from=ppvector", "--model=TDNN", tmp_path / "pp")


def test_a_network_that_the_weights_do_not_tell_is_the_users_to_say(
    convert, refused, tmp_path
) -> None:
    case = json.loads((PARITY / "wespeaker_resnet34_tap.json").read_text())
    source = write_torch(tmp_path / "avg_model.pt", reference_weights(case["keys"]))
    line = refused(1, "--from=wespeaker", source)
    assert str(source) in line and "input_size 40, pooling TSTP" in line
    assert "input_size 80, pooling TAP" in line and "input_size 80, pooling TSDP" in line
    model = "{class_path: ResNet34, init_args: {pooling: TAP}}"
    status, _ = convert("--from=wespeaker", f"--model={model}", source, tmp_path / "converted")
    assert status == 0
    _, module = opened(tmp_path / "converted")
    assert module.feature.output_size == 80
    with paddle.no_grad():
        ours = module.model(paddle.to_tensor(reference_features(98))).numpy()[0]
    expected = np.asarray(case["outputs"]["98"])
    np.testing.assert_allclose(ours, expected, rtol=0, atol=1e-4 * np.abs(expected).max())


def test_half_precision_and_names_from_data_parallel_training(convert, tmp_path) -> None:
    weights = small_xvector()
    halves = {
        f"module.{name}": value.astype("float16") if value.dtype.kind == "f" else value
        for name, value in weights.items()
    }
    write_torch(tmp_path / "half.pt", halves)
    assert convert("--from", "3dspeaker", tmp_path / "half.pt", tmp_path / "out")[0] == 0
    _, module = opened(tmp_path / "out")
    kernel = weights["frame_2.conv_1d.weight"].astype("float16").astype("float32")
    np.testing.assert_array_equal(module.model.frames[1].conv.weight.numpy(), kernel)


def test_wespeakers_classifier_comes_along_and_a_new_run_starts_from_it(
    convert, tmp_path, capfd
) -> None:
    weights = small_xvector()
    projection = by_rule([("projection.weight", (7, 6))])
    write_torch(tmp_path / "avg_model.pt", weights | projection)
    status, said = convert("--from", "wespeaker", tmp_path / "avg_model.pt", tmp_path / "out")
    summary = f"{tmp_path / 'out'}: TDNN of 6 values on Fbank of 80, a classifier of 7 classes"
    first, architecture, front_end = said.splitlines()
    assert (status, first) == (0, summary)
    assert architecture.startswith("  architecture: TDNN (input_size 80, embedding_dim 6, ")
    assert front_end.startswith("  front end: Fbank (n_mels 80, ")
    checkpoint, module = opened(tmp_path / "out")
    assert checkpoint.state.own["num_speakers"] == 7
    np.testing.assert_array_equal(module.head.weight.numpy(), projection["projection.weight"].T)

    model = TDNN(embedding_dim=6, channels=8, pooled_channels=12)
    for classes, kept in ((7, True), (9, False)):
        fresh = SpeakerModule(model=model, feature=Fbank(), loss=AAMLoss(), num_classes=classes)
        initialise(fresh, checkpoint)
        np.testing.assert_array_equal(
            fresh.model.embedding.weight.numpy(), weights["seg_1.weight"].T
        )
        # the command has set up logging
        assert ("head.weight" not in capfd.readouterr().err) is kept
        assert (
            np.array_equal(fresh.head.weight.numpy().T[:7], projection["projection.weight"]) is kept
        )


def test_without_a_classifier_it_embeds_but_does_not_train(convert, tmp_path) -> None:
    write_torch(tmp_path / "model.pt", small_xvector())
    assert convert("--from", "3dspeaker", tmp_path / "model.pt", tmp_path / "out")[0] == 0
    checkpoint, module = opened(tmp_path / "out")
    assert checkpoint.state.own["num_speakers"] is None
    assert checkpoint.state.metrics == dict.fromkeys(("eer", "min_dcf", "threshold"))
    assert checkpoint.state.metrics_step is None
    assert module.embed(np.zeros((1, 8000), "float32")).shape == [1, 6]
    with pytest.raises(UsageError, match="without a head cannot train"):
        module.training_step(None)


def test_the_configuration_makes_the_model_again(convert, tmp_path) -> None:
    write_torch(tmp_path / "model.pt", small_xvector())
    assert convert("--from", "3dspeaker", tmp_path / "model.pt", tmp_path / "out")[0] == 0
    checkpoint = open_checkpoint(tmp_path / "out")
    config = yaml.safe_load(checkpoint.read("config.yaml"))
    assert {name: config[name] for name in ("model", "feature", "loss")} == {
        name: json.loads(json.dumps(checkpoint.state.own[name]))
        for name in ("model", "feature", "loss")
    }
    assert config["data"]["sample_rate"] == 16000


def test_the_command_as_a_user_runs_it(tmp_path) -> None:
    write_torch(tmp_path / "model.pt", small_xvector())
    command = [
        sys.executable,
        "-m",
        "vprtrain",
        "convert",
        "--from=3dspeaker",
        "model.pt",
        "out",
        "--json",
    ]
    done = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False
    )
    assert (done.returncode, json.loads(done.stdout)) == (0, {"path": "out"}), done.stderr
    opened(tmp_path / "out")


def test_mistakes_of_the_command_line_are_said_in_one_line(refused, tmp_path) -> None:
    write_torch(tmp_path / "model.pt", small_xvector())
    assert "model.pt.gz is not a file" in refused(2, "--from=3dspeaker", tmp_path / "model.pt.gz")
    assert "got kaldi" in refused(2, "--from=kaldi", tmp_path / "model.pt")
    assert "is not a checkpoint of ppvector" in refused(2, "--from=ppvector", tmp_path)
    assert "missing: --from" in refused(2, tmp_path / "model.pt")


def test_what_is_there_is_not_overwritten(convert, tmp_path) -> None:
    write_torch(tmp_path / "model.pt", small_xvector())
    (tmp_path / "out").mkdir()
    status, said = convert("--from=3dspeaker", tmp_path / "model.pt", tmp_path / "out")
    assert status == 2 and f"{tmp_path / 'out'} is there already" in said
    status, said = convert("--from=3dspeaker", tmp_path / "model.pt", tmp_path / "model.pt" / "out")
    assert status == 1 and "cannot be written" in said


class Attack:
    def __reduce__(self) -> tuple[object, ...]:
        return os.system, ("touch executed",)


def test_hostile_and_torn_files_are_refused_and_leave_nothing(
    refused, tmp_path, monkeypatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = write_torch(tmp_path / "model.pt", small_xvector())
    path.write_bytes(path.read_bytes()[:-900])
    assert f"{path} is not a whole file" in refused(1, "--from=3dspeaker", path)
    path.write_bytes(pickle.dumps({"a": Attack()}))
    assert "is not a whole file" in refused(1, "--from=3dspeaker", path)
    folder = write_ppvector(tmp_path / "project", {}, ppvector_config())
    (folder / "model.pdparams").write_bytes(pickle.dumps({"0.a": Attack()}, protocol=4))
    assert "asks for 'posix.system'" in refused(1, "--from=ppvector", folder)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            lambda weights: weights.pop("seg_1.bias"),
            "1 of its tensors are missing",
        ),
        (lambda weights: weights.pop("frame_3.conv_1d.bias"), "1 of its tensors are missing"),
        (
            lambda weights: weights.update({"seg_3.weight": np.zeros((2, 2), "f4")}),
            "1 others are not known",
        ),
        (
            lambda weights: weights.update({"frame_2.conv_1d.weight": np.zeros((8, 8, 5), "f4")}),
            "frame_2.conv_1d.weight",
        ),
        (
            lambda weights: weights.pop("frame_1.conv_1d.weight"),
            "have no known architecture (CAMPPlus, ",
        ),
        (
            lambda weights: weights.update({"frame_1.conv_1d.weight": np.zeros(3, "f4")}),
            "but no TDNN has their shapes",
        ),
        (
            lambda weights: weights.update(
                {"frame_1.conv_1d.weight": np.zeros((50_000, 1, 1), "f4")}
            ),
            "it would have 17",
        ),
    ],
)
def test_other_weights_are_refused(refused, tmp_path, change, said: str) -> None:
    weights = small_xvector()
    change(weights)
    path = write_torch(tmp_path / "model.pt", weights)
    line = refused(1, "--from=3dspeaker", path)
    assert said in line and str(path) in line
