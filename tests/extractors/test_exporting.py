"""Exported models equal their checkpoint in every form, for batches of any lengths; a failed export
leaves nothing."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, get_args

import numpy as np
import onnx
import onnxruntime
import paddle
import pytest
from small_encoders import ENCODERS, MELS, VARIANTS, made_uneven

from vprtrain import features
from vprtrain.checkpoint.file_names import CONFIG_FILE, MODEL_FILE
from vprtrain.checkpoint.snapshot import Snapshot, layer_arrays
from vprtrain.checkpoint.state import CheckpointState
from vprtrain.checkpoint.state_file import (
    STATE_FILE,
    SavedCheckpoint,
    encode_state,
    open_checkpoint,
    read_content,
)
from vprtrain.commands import program
from vprtrain.commands.export import export as export_command
from vprtrain.errors import CheckpointError, RunError, UsageError
from vprtrain.extractors.export_check import TOLERANCE
from vprtrain.extractors.exporting import export
from vprtrain.extractors.extractor import ONNX_FILE, STATIC_FILE
from vprtrain.extractors.opening import open_extractor
from vprtrain.files import sha256
from vprtrain.layers.blocks import mean_over_frames
from vprtrain.losses import AAMLoss
from vprtrain.models import SpeakerEncoder
from vprtrain.models.pooling import PoolingName
from vprtrain.speaker.module import SpeakerModule

main = program.choose(export_command, description="", prog="vprtrain")
FORMS = (STATIC_FILE, ONNX_FILE)
FBANK = partial(features.Fbank, n_mels=MELS, mean_norm=True)
FEATURES: dict[str, Callable[[], features.FeatureExtractor]] = {
    "Fbank as Kaldi has it": partial(
        features.Fbank, n_mels=MELS, window="hamming", int16_scale=True
    ),
    "LogMelSpectrogram": partial(
        features.LogMelSpectrogram, n_mels=MELS, win_length=400, mean_norm=True
    ),
    "MFCC": partial(features.MFCC, n_mfcc=MELS, n_mels=40, mean_norm=True, variance_norm=True),
    "MelSpectrogram": partial(features.MelSpectrogram, n_mels=MELS, n_fft=400, mean_norm=True),
    "Spectrogram": partial(
        features.Spectrogram, n_fft=2 * MELS - 2, hop_length=20, center=False, power=1.0
    ),
    "SpeechBrainFbank": partial(features.SpeechBrainFbank, n_mels=MELS, mean_norm=True),
}


class Fourier(SpeakerEncoder):
    """A model with an operation that the converter does not support."""

    def __init__(self) -> None:
        super().__init__(input_size=MELS, embedding_dim=MELS // 2 + 1, min_frames=1)
        self.dense = paddle.nn.Linear(MELS, MELS)

    def encode(self, x: paddle.Tensor, lengths: paddle.Tensor | None) -> paddle.Tensor:
        return paddle.fft.rfft(self.dense(mean_over_frames(x, lengths))).real()


class WhenTraced(SpeakerEncoder):
    """A model whose exported graph gives other embeddings than the model itself."""

    def __init__(self) -> None:
        super().__init__(input_size=MELS, embedding_dim=4, min_frames=1)
        self.dense = paddle.nn.Linear(MELS, 4)

    def encode(self, x: paddle.Tensor, lengths: paddle.Tensor | None) -> paddle.Tensor:
        return self.dense(x.mean(-1)) * (1.0 if paddle.in_dynamic_mode() else 1.001)


def saved(
    folder: Path,
    model: Callable[[], SpeakerEncoder],
    feature: Callable[[], features.FeatureExtractor],
) -> SavedCheckpoint:
    """A checkpoint like one of a run, with untrained weights."""
    paddle.seed(1)
    module = SpeakerModule(
        model=made_uneven(model()), feature=feature(), loss=AAMLoss(), num_classes=3
    )
    snapshot = Snapshot(
        name=folder.name,
        state=CheckpointState(
            own={**module.state_keys(), "sample_rate": 16000, "channel": 0},
            step=7,
            metrics={"eer": 0.1, "min_dcf": 0.8, "threshold": 0.25},
            metrics_step=7,
        ),
        arrays={MODEL_FILE: layer_arrays(module)},
        texts={CONFIG_FILE: "seed: 0\n"},
    )
    snapshot.save(folder)
    return open_checkpoint(folder)


def waveforms(*lengths: int) -> list[np.ndarray]:
    rng = np.random.default_rng(5)
    return [(0.2 * rng.standard_normal(length)).astype("float32") for length in lengths]


def assert_equal(found: np.ndarray, expected: np.ndarray) -> None:
    assert found.dtype == np.float32 and found.shape == expected.shape
    np.testing.assert_allclose(found, expected, rtol=0, atol=TOLERANCE * np.abs(expected).max())


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> SavedCheckpoint:
    return saved(tmp_path_factory.mktemp("run") / "epoch_2", ENCODERS["TDNN"], FBANK)


@pytest.fixture(scope="module")
def exported(checkpoint: SavedCheckpoint, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("exported") / "model"
    export(checkpoint, out)
    return out


@pytest.fixture(scope="module")
def exported_for_features(
    checkpoint: SavedCheckpoint, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    out = tmp_path_factory.mktemp("exported") / "model"
    export(checkpoint, out, input="features")
    return out


@pytest.fixture(scope="module")
def exported_without_lengths(
    checkpoint: SavedCheckpoint, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    out = tmp_path_factory.mktemp("exported") / "model"
    export(checkpoint, out, lengths=False)
    return out


@pytest.fixture
def copied(exported: Path, tmp_path: Path) -> Path:
    """A copy of the export, which a test may damage."""
    shutil.copytree(exported, tmp_path / "copy")
    return tmp_path / "copy"


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    "fixture", ["exported", "exported_for_features", "exported_without_lengths"]
)
def test_it_answers_as_its_checkpoint(
    checkpoint: SavedCheckpoint, fixture: str, form: str, request: pytest.FixtureRequest
) -> None:
    ours = open_extractor(checkpoint.folder, "cpu")
    theirs = open_extractor(request.getfixturevalue(fixture) / form, "cpu")
    assert theirs.digest == ours.digest
    assert (theirs.sample_rate, theirs.min_samples) == (ours.sample_rate, ours.min_samples)
    assert theirs.embedding_dim == ours.embedding_dim
    batch = waveforms(16000, theirs.min_samples, 5003, 31234)
    alone = np.concatenate([ours.embed([waveform]) for waveform in batch])
    assert_equal(theirs.embed(batch), alone)
    assert_equal(np.concatenate([theirs.embed([waveform]) for waveform in batch]), alone)


@pytest.mark.parametrize("form", FORMS)
def test_threads_get_what_one_thread_gets(exported: Path, form: str) -> None:
    extractor = open_extractor(exported / form, "cpu")
    batches = [
        waveforms(*lengths) for lengths in ((8000, 9000), (7000,), (12000, 5000, 6000), (20000,))
    ] * 4
    expected = [extractor.embed(batch) for batch in batches]
    with ThreadPoolExecutor(4) as pool:
        for found, single in zip(pool.map(extractor.embed, batches), expected, strict=True):
            np.testing.assert_array_equal(found, single)


def test_the_folder_is_complete(checkpoint: SavedCheckpoint, exported: Path) -> None:
    opened = open_checkpoint(exported)  # verifies every file
    assert {path.name for path in exported.iterdir()} == {STATE_FILE, *opened.state.files}
    assert replace(opened.state, extra={}, files=checkpoint.state.files) == checkpoint.state
    assert opened.state.extra.keys() == {"export"}
    assert opened.read(CONFIG_FILE) == checkpoint.read(CONFIG_FILE)
    assert type(open_extractor(exported)).__name__ == "OnnxExtractor"


def test_convolutions_over_time_have_one_dimension(exported: Path) -> None:
    graph = onnx.load(exported / ONNX_FILE).graph
    weights = {tensor.name: tensor for tensor in graph.initializer}
    shapes = [tuple(weights[node.input[1]].dims) for node in graph.node if node.op_type == "Conv"]
    assert shapes and all(len(shape) == 3 for shape in shapes), shapes


def test_batch_normalisations_behind_convolutions_are_folded(tmp_path: Path) -> None:
    checkpoint = saved(tmp_path / "run" / "epoch_1", ENCODERS["CAMPPlus"], FBANK)
    export(checkpoint, tmp_path / "out", format="onnx")
    graph = onnx.load(tmp_path / "out" / ONNX_FILE).graph
    read = Counter(name for node in graph.node for name in node.input)
    written_by = {name: node.op_type for node in graph.node for name in node.output}
    inputs = [node.input[0] for node in graph.node if node.op_type == "BatchNormalization"]
    assert inputs and "Conv" not in {written_by[name] for name in inputs if read[name] == 1}


def test_the_static_model_needs_nothing_of_vprtrain(exported: Path, tmp_path: Path) -> None:
    batch = np.stack(waveforms(9000, 9000))
    np.save(tmp_path / "batch.npy", batch)
    script = (
        "import sys, numpy, paddle\n"
        "model = paddle.jit.load(sys.argv[1])\n"
        "batch = paddle.to_tensor(numpy.load('batch.npy'))\n"
        "lengths = paddle.to_tensor([9000, 9000], 'int64')\n"
        "numpy.save('found.npy', model(batch, lengths).numpy())\n"
        "assert not [name for name in sys.modules if name.startswith('vprtrain')]\n"
    )
    command = [sys.executable, "-W", "ignore", "-c", script, str(exported / "inference")]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    subprocess.run(command, cwd=tmp_path, env=environment, check=True, timeout=120)
    assert_equal(np.load(tmp_path / "found.npy"), open_extractor(exported).embed(list(batch)))


def test_a_graph_that_differs_is_refused(tmp_path: Path) -> None:
    checkpoint = saved(tmp_path / "run" / "epoch_1", WhenTraced, FBANK)
    with pytest.raises(
        RunError, match=r"inference\.json gives other embeddings .* differ by 1\.0e-03"
    ):
        export(checkpoint, tmp_path / "out", format="paddle")
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_a_model_that_cannot_be_converted_is_refused(tmp_path: Path) -> None:
    checkpoint = saved(tmp_path / "run" / "epoch_1", Fourier, FBANK)
    with pytest.raises(
        RunError, match=r"paddle2onnx cannot convert this model .*unsupported operators"
    ):
        export(checkpoint, tmp_path / "out", input="features")
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_a_folder_that_is_there_is_left_alone(checkpoint: SavedCheckpoint, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="exists already"):
        export(checkpoint, tmp_path)
    assert not [*tmp_path.iterdir()]


def test_an_export_is_not_exported_again(exported: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is an exported model already: give the checkpoint"):
        export(open_checkpoint(exported), tmp_path / "again")


@pytest.mark.parametrize("package", ["paddle2onnx", "onnxruntime"])
def test_without_the_extra_it_says_what_to_install(
    checkpoint: SavedCheckpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, package: str
) -> None:
    monkeypatch.setitem(sys.modules, package, None)  # as if it were not installed
    with pytest.raises(UsageError, match=rf"needs {package}.*pip install 'vprtrain\[onnx\]'"):
        export(checkpoint, tmp_path / "out")
    assert not [*tmp_path.iterdir()]


def test_using_onnx_without_the_extra_says_what_to_install(
    exported: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(
        UsageError, match=r"inference\.onnx needs onnxruntime.*pip install 'vprtrain\[onnx\]'"
    ):
        open_extractor(exported / ONNX_FILE)
    open_extractor(exported)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("device", ["gpu:7", "tpu"])
def test_a_device_that_is_not_there_is_refused(exported: Path, form: str, device: str) -> None:
    with pytest.raises(UsageError, match=f"device is '{device}'"):
        open_extractor(exported / form, device)


@pytest.mark.parametrize("name", FORMS)
def test_a_damaged_file_is_refused(copied: Path, name: str) -> None:
    data = bytearray((copied / name).read_bytes())
    data[len(data) // 2] ^= 1
    (copied / name).write_bytes(data)
    with pytest.raises(CheckpointError, match=rf"{name} is not what was saved"):
        open_extractor(copied)


@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        (ONNX_FILE, b"not a model", "is not a model that vprtrain made"),
        (STATIC_FILE, b"not a model", "is not a static Paddle model"),
    ],
)
def test_a_strangers_file_is_refused(copied: Path, name: str, data: bytes, said: str) -> None:
    (copied / name).write_bytes(data)
    state = read_content(copied / STATE_FILE)
    state["files"][name] = sha256(data)
    (copied / STATE_FILE).write_bytes(encode_state(state))
    with pytest.raises(CheckpointError, match=said):
        open_extractor(copied / name)


@pytest.mark.parametrize(
    "change",
    [
        {"input": "speech"},
        {"sample_rate": "16000"},
        {"min_samples": 0},
        {"weights_sha256": None},
        {"lengths": 0},
        {"more": 1},
    ],
)
def test_a_record_that_cannot_be_is_refused(copied: Path, change: dict[str, Any]) -> None:
    state = read_content(copied / STATE_FILE)
    state["export"].update(change)
    (copied / STATE_FILE).write_bytes(encode_state(state))
    with pytest.raises(CheckpointError, match="is not an exported model's"):
        open_extractor(copied)


def test_the_command_says_where(
    checkpoint: SavedCheckpoint, capsys: pytest.CaptureFixture[str]
) -> None:
    out = checkpoint.folder.parent / "export" / "epoch_2"
    arguments = ["export", f"--checkpoint={checkpoint.folder}", "--format=paddle", "--json"]
    assert program.status(main, arguments) == 0
    assert json.loads(capsys.readouterr().out) == {"path": str(out)}
    assert {path.name for path in out.iterdir()} == {
        STATE_FILE,
        CONFIG_FILE,
        STATIC_FILE,
        "inference.pdiparams",
    }
    assert program.status(main, arguments) == 2
    assert "exists already" in capsys.readouterr().err


@pytest.mark.parametrize("recipe", ["cnceleb", "voxceleb"])
def test_every_recipe_has_the_command(recipe: str) -> None:
    program = Path(__file__).parents[2] / "recipes" / recipe / "run.py"
    done = subprocess.run(
        [sys.executable, program, "export", "--help"], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0 and "--input" in done.stdout, done.stderr


@pytest.mark.slow
def test_a_stopped_export_leaves_nothing(checkpoint: SavedCheckpoint, tmp_path: Path) -> None:
    out, temporary = tmp_path / "out", tmp_path / "temporary"
    temporary.mkdir()
    command = [
        sys.executable,
        "-m",
        "vprtrain",
        "export",
        f"--checkpoint={checkpoint.folder}",
        f"--out={out}",
    ]
    environment = {**os.environ, "TMPDIR": str(temporary)}
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stderr is not None
        assert any("converting" in line for line in process.stderr)
        process.terminate()
        assert process.wait(timeout=120) == 128 + signal.SIGTERM
    assert not out.exists() and not [*temporary.iterdir()]


@pytest.mark.slow
@pytest.mark.parametrize("model", [*ENCODERS, *VARIANTS])
def test_every_model_exports(model: str, tmp_path: Path) -> None:
    check_export(tmp_path, (ENCODERS | VARIANTS)[model], FBANK)


@pytest.mark.slow
@pytest.mark.parametrize("model", [*ENCODERS, *VARIANTS])
def test_every_model_exports_for_a_client(model: str, tmp_path: Path) -> None:
    """Such a graph has no lengths, and takes another way through the layers."""
    feature = partial(FBANK, window="hamming", int16_scale=True)
    checkpoint = saved(tmp_path / "epoch_1", (ENCODERS | VARIANTS)[model], feature)
    options = {"input": "features", "format": "onnx", "client": "wespeaker"}
    export(checkpoint, tmp_path / "out", **options)  # compares
    session = onnxruntime.InferenceSession(tmp_path / "out" / ONNX_FILE)
    assert [value.name for value in session.get_inputs()] == ["feats"]


@pytest.mark.slow
@pytest.mark.parametrize("pooling", get_args(PoolingName))
@pytest.mark.parametrize("model", ["TDNN", "EcapaTdnn", "ResNet34"])
@pytest.mark.parametrize("lengths", [True, False])
def test_every_pooling_exports(lengths: bool, model: str, pooling: str, tmp_path: Path) -> None:
    check_export(tmp_path, partial(ENCODERS[model], pooling=pooling), FBANK, lengths=lengths)


@pytest.mark.slow
@pytest.mark.parametrize("feature", FEATURES)
@pytest.mark.parametrize("lengths", [True, False])
def test_every_feature_exports(lengths: bool, feature: str, tmp_path: Path) -> None:
    check_export(tmp_path, ENCODERS["TDNN"], FEATURES[feature], lengths=lengths)


def check_export(
    folder: Path,
    model: Callable[[], SpeakerEncoder],
    feature: Callable[[], features.FeatureExtractor],
    *,
    lengths: bool = True,
) -> None:
    checkpoint = saved(folder / "epoch_1", model, feature)
    export(checkpoint, folder / "out", lengths=lengths)
    ours = open_extractor(checkpoint.folder, "cpu")
    batch = waveforms(40000, ours.min_samples + 321, 17000)
    for form in FORMS:
        assert_equal(open_extractor(folder / "out" / form, "cpu").embed(batch), ours.embed(batch))
