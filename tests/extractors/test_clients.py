"""Exports for the clients of the field load there, and embed the same features alike: four
families, in sherpa-onnx, onnxruntime and OpenVINO, and through onnxruntime's quantiser."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import kaldi_native_fbank
import numpy as np
import onnx
import onnxruntime
import paddle
import pytest
from small_checkpoint import voice, write_checkpoint
from small_encoders import ENCODERS, made_uneven

from vprtrain.checkpoint.state_file import (
    STATE_FILE,
    encode_state,
    open_checkpoint,
    read_content,
)
from vprtrain.commands import program
from vprtrain.commands.export import export as export_command
from vprtrain.conversion import convert
from vprtrain.errors import CheckpointError, RunError, UsageError
from vprtrain.extractors import export_check, open_extractor
from vprtrain.extractors.exporting import export
from vprtrain.extractors.extractor import ONNX_FILE
from vprtrain.features import MFCC, Fbank, FeatureExtractor, SpeechBrainFbank
from vprtrain.models import TDNN

main = program.choose(export_command, description="", prog="vprtrain")
MELS = 80
SMALL = ("CAMPPlus", "EcapaTdnn", "ResNet34", "TDNN")
PUBLISHED = "the published CAM++"
FAMILIES = [*SMALL, pytest.param(PUBLISHED, marks=pytest.mark.slow)]
LEAST_COSINE = 0.99999
Exported = Callable[[str], tuple[Path, Path]]


def fbank(**options: Any) -> Fbank:
    return Fbank(**{"n_mels": MELS, "mean_norm": True, **options})


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Exported:
    """The checkpoint of a family and its export for sherpa-onnx, made once."""
    made: dict[str, tuple[Path, Path]] = {}

    def of(family: str) -> tuple[Path, Path]:
        if family not in made:
            folder = tmp_path_factory.mktemp("family")
            if family == PUBLISHED:
                test_data = request.getfixturevalue("test_data")
                weights = test_data / "pretrained" / "campplus_cn_en_common.pt"
                if not weights.exists():
                    pytest.skip(f"no published model at {weights}")
                convert("3dspeaker", weights, folder / "model")
            else:
                paddle.seed(1)
                model = made_uneven(ENCODERS[family](input_size=MELS))
                write_checkpoint(folder / "model", model=model, feature=fbank())
            said = export(
                open_checkpoint(folder / "model"),
                folder / "out",
                input="features",
                format="onnx",
                client="sherpa-onnx",
            )
            assert said == "equal to it on noise of three lengths"
            made[family] = (folder / "model", folder / "out")
        return made[family]

    return of


def sherpas_features(waveform: np.ndarray) -> np.ndarray:
    """``[frames, 80]`` as sherpa-onnx's FeatureExtractorConfig has them, mean-normalised."""
    options = kaldi_native_fbank.FbankOptions()
    options.frame_opts.dither = 0
    options.frame_opts.snip_edges = False
    options.mel_opts.num_bins = MELS
    options.mel_opts.high_freq = -400
    options.energy_floor = 0
    bank = kaldi_native_fbank.OnlineFbank(options)
    bank.accept_waveform(16000, waveform)
    bank.input_finished()
    features = np.stack([bank.get_frame(frame) for frame in range(bank.num_frames_ready)])
    return features - features.mean(axis=0)


def our_embedding(checkpoint: Path, features: np.ndarray) -> np.ndarray:
    module = open_extractor(checkpoint, "cpu", runtime="paddle").module
    with paddle.no_grad():
        return module.model(paddle.to_tensor(features[np.newaxis])).numpy()[0]


def assert_alike(found: np.ndarray, expected: np.ndarray) -> None:
    cosine = found @ expected / np.linalg.norm(found) / np.linalg.norm(expected)
    assert cosine >= LEAST_COSINE
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-3 * np.abs(expected).max())


def sherpas_embedding(file: Path, waveform: np.ndarray) -> np.ndarray:
    sherpa_onnx = pytest.importorskip("sherpa_onnx", reason="needs pip install sherpa-onnx")
    config = sherpa_onnx.SpeakerEmbeddingExtractorConfig(model=str(file))
    assert config.validate()
    extractor = sherpa_onnx.SpeakerEmbeddingExtractor(config)
    stream = extractor.create_stream()
    stream.accept_waveform(16000, waveform)
    stream.input_finished()
    assert extractor.is_ready(stream)
    return np.array(extractor.compute(stream), "float32")


@pytest.mark.parametrize("family", FAMILIES)
def test_sherpa_onnx_embeds_as_we_do(exported: Exported, family: str) -> None:
    checkpoint, out = exported(family)
    for waveform in (voice(0, seconds=2.3), voice(1, seconds=1.1)):
        found = sherpas_embedding(out / ONNX_FILE, waveform)
        assert_alike(found, our_embedding(checkpoint, sherpas_features(waveform)))


@pytest.mark.parametrize("family", FAMILIES)
def test_onnxruntime_and_openvino_embed_as_we_do(exported: Exported, family: str) -> None:
    checkpoint, out = exported(family)
    features = [sherpas_features(voice(speaker, seconds=1 + speaker)) for speaker in range(2)]
    session = onnxruntime.InferenceSession(out / ONNX_FILE)
    for rows in features:
        (found,) = session.run(["embedding"], {"x": rows[np.newaxis]})
        assert_alike(found[0], our_embedding(checkpoint, rows))
    batch = np.stack([rows[:90] for rows in features])
    (found,) = session.run(["embedding"], {"x": batch})
    for row, rows in zip(found, batch, strict=True):
        assert_alike(row, our_embedding(checkpoint, rows))

    openvino = pytest.importorskip("openvino", reason="needs pip install openvino")
    compiled = openvino.Core().compile_model(
        out / ONNX_FILE, "CPU", {"INFERENCE_PRECISION_HINT": "f32"}
    )
    for rows in features:
        found = compiled({"x": rows[np.newaxis]})["embedding"]
        assert_alike(found[0], our_embedding(checkpoint, rows))


@pytest.mark.parametrize("family", FAMILIES)
def test_onnxruntimes_quantiser_finds_the_weights(
    exported: Exported, family: str, tmp_path: Path
) -> None:
    pytest.importorskip("ml_dtypes", reason="onnxruntime's quantiser needs pip install ml-dtypes")
    from onnxruntime.quantization import QuantType, quantize_dynamic

    checkpoint, out = exported(family)
    small = tmp_path / "int8.onnx"
    quantize_dynamic(out / ONNX_FILE, small, weight_type=QuantType.QUInt8)
    operators = {node.op_type for node in onnx.load(small).graph.node}
    assert operators & {"ConvInteger", "MatMulInteger"} and "Conv" not in operators
    if family == PUBLISHED:
        assert small.stat().st_size < 0.3 * (out / ONNX_FILE).stat().st_size
    features = sherpas_features(voice(0))
    (found,) = onnxruntime.InferenceSession(small).run(None, {"x": features[np.newaxis]})
    expected = our_embedding(checkpoint, features)
    assert found[0] @ expected / np.linalg.norm(found) / np.linalg.norm(expected) > 0.95


def test_the_file_says_what_it_is(exported: Exported) -> None:
    checkpoint, out = exported("TDNN")
    session = onnxruntime.InferenceSession(out / ONNX_FILE)
    assert [(value.name, value.shape) for value in session.get_inputs()] == [
        ("x", ["batch", "frames", MELS])
    ]
    assert [(value.name, value.shape) for value in session.get_outputs()] == [
        ("embedding", ["batch", 16])
    ]
    about = session.get_modelmeta().custom_metadata_map
    sherpa = {
        **{"framework": "3d-speaker", "language": "unknown", "sample_rate": "16000"},
        **{"output_dim": "16", "normalize_samples": "1", "feature_normalize_type": "global-mean"},
    }
    ours = open_extractor(checkpoint, "cpu")
    expected = {
        **sherpa,
        **{"embedding_dim": "16", "precision": "float32", "threshold": "0.9"},
        "digest": ours.digest,
    }
    assert expected.items() <= about.items()
    assert '"class_path": "vprtrain.models.TDNN"' in about["model"]
    assert '"class_path": "vprtrain.features.Fbank"' in about["front_end"]
    graph = onnx.load(out / ONNX_FILE).graph
    assert not any(node.op_type in ("Constant", "Identity") for node in graph.node)
    assert sum(len(tensor.raw_data) for tensor in graph.initializer) > 20_000


def test_our_own_commands_take_the_export_too(exported: Exported) -> None:
    checkpoint, out = exported("EcapaTdnn")
    ours, theirs = open_extractor(checkpoint, "cpu"), open_extractor(out, "cpu")
    assert theirs.digest == ours.digest
    batch = [voice(0), voice(1, seconds=0.7), voice(2, seconds=1.9)]
    for found, expected in zip(theirs.embed(batch), ours.embed(batch), strict=True):
        assert_alike(found, expected)


def test_wespeakers_runtime_gets_its_names(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    feature = fbank(window="hamming", int16_scale=True)
    write_checkpoint(
        tmp_path / "model", model=TDNN(channels=8, pooled_channels=16), feature=feature
    )
    arguments = [f"--checkpoint={tmp_path / 'model'}", "--for=wespeaker", f"--out={tmp_path / 'o'}"]
    assert program.status(main, ["export", *arguments]) == 0
    session = onnxruntime.InferenceSession(tmp_path / "o" / ONNX_FILE)
    assert [value.name for value in session.get_inputs()] == ["feats"]
    assert [value.name for value in session.get_outputs()] == ["embs"]
    assert "computes the features itself" not in caplog.text  # it has WeSpeaker's front end


@pytest.mark.parametrize(
    ("client", "feature", "said"),
    [
        ("sherpa-onnx", fbank(n_mels=40), r"its n_mels is 80, the model's 40"),
        ("sherpa-onnx", fbank(variance_norm=True), "its variance_norm is False, the model's True"),
        ("sherpa-onnx", SpeechBrainFbank(n_mels=80), "trained with SpeechBrainFbank"),
        ("wespeaker", MFCC(n_mfcc=40), "trained with MFCC"),
        ("wespeaker", fbank(mean_norm=False), "its mean_norm is True, the model's False"),
    ],
)
def test_a_model_that_a_client_cannot_feed_is_refused(
    tmp_path: Path, client: Any, feature: FeatureExtractor, said: str
) -> None:
    model = TDNN(input_size=feature.output_size, channels=8, pooled_channels=16)
    write_checkpoint(tmp_path / "model", model=model, feature=feature)
    saved = open_checkpoint(tmp_path / "model")
    with pytest.raises(UsageError, match=f"{said}.*export without --for"):
        export(saved, tmp_path / "out", input="features", format="onnx", client=client)
    assert not (tmp_path / "out").exists()


def test_differences_that_cost_a_little_are_said(
    exported: Exported, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    checkpoint, _ = exported("TDNN")
    saved = open_checkpoint(checkpoint)
    export(saved, tmp_path / "out", input="features", format="onnx", client="sherpa-onnx")
    assert (
        "its f_max is 7600.0, the model's 8000.0; it also makes frames at the edges" in caplog.text
    )


@pytest.mark.parametrize(
    "arguments",
    [
        ["--for=sherpa-onnx", "--input=waveform"],
        ["--for=sherpa-onnx", "--format=paddle"],
        ["--for=paddle", "--precision=float16"],
        ["--precision=int8"],
    ],
)
def test_options_that_contradict_each_other_are_refused(
    exported: Exported, tmp_path: Path, arguments: list[str]
) -> None:
    checkpoint, _ = exported("TDNN")
    common = ["export", f"--checkpoint={checkpoint}", f"--out={tmp_path / 'out'}"]
    assert program.status(main, [*common, *arguments]) == 2
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("precision", "least", "size"), [("float16", 0.999, 0.6), ("int8", 0.9, 0.6)]
)
def test_weights_of_lower_precision(
    exported: Exported, tmp_path: Path, precision: Any, least: float, size: float
) -> None:
    if precision == "int8":
        pytest.importorskip("ml_dtypes", reason="int8 needs pip install ml-dtypes")
    checkpoint, whole = exported("TDNN")
    saved = open_checkpoint(checkpoint)
    said = export(saved, tmp_path / "out", input="features", format="onnx", precision=precision)
    assert f"with weights of {precision}, embeddings of 8 synthetic voices have a cosine" in said
    assert "scores between them move by up to" in said
    small = tmp_path / "out" / ONNX_FILE
    assert small.stat().st_size < size * (whole / ONNX_FILE).stat().st_size
    ours, theirs = (
        open_extractor(path, "cpu").embed([voice(3)])[0] for path in (checkpoint, small)
    )
    assert ours @ theirs / np.linalg.norm(ours) / np.linalg.norm(theirs) > least
    assert not np.array_equal(ours, theirs)


def test_embeddings_that_move_too_far_are_refused(
    exported: Exported, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(export_check.LEAST_COSINE, "float16", 1.1)
    saved = open_checkpoint(exported("TDNN")[0])
    with pytest.raises(RunError, match=r"expected a cosine of at least 1\.1: nothing was exported"):
        export(saved, tmp_path / "out", input="features", format="onnx", precision="float16")
    assert not (tmp_path / "out").exists()


def test_int8_without_the_quantisers_package_says_what_to_install(
    exported: Exported, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ml_dtypes", None)
    saved = open_checkpoint(exported("TDNN")[0])
    with pytest.raises(UsageError, match=r"needs ml_dtypes.*'vprtrain\[onnx\]', or .* --precision"):
        export(saved, tmp_path / "out", input="features", format="onnx", precision="int8")


def test_a_record_of_an_unknown_client_is_refused(exported: Exported, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(exported("TDNN")[1], tmp_path / "copy"))
    state = read_content(copy / STATE_FILE)
    state["export"]["client"] = "nobody"
    (copy / STATE_FILE).write_bytes(encode_state(state))
    with pytest.raises(CheckpointError, match="is not an exported model's"):
        open_extractor(copy, "cpu")
