"""The export of a checkpoint to models that need no training code: static Paddle and ONNX."""

from __future__ import annotations

import importlib.util
import logging
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Literal

import numpy as np
import paddle

from vprtrain.checkpoint.snapshot import CONFIG_FILE, MODEL_FILE
from vprtrain.checkpoint.state_file import SavedCheckpoint, with_state
from vprtrain.errors import RunError, UsageError
from vprtrain.evaluation.extraction import weights_sha256
from vprtrain.extractors.checkpoint import CheckpointExtractor
from vprtrain.extractors.exported import ExportRecord, GraphInput
from vprtrain.extractors.extractor import ONNX_FILE, STATIC_FILE, Extractor
from vprtrain.extractors.opening import open_extractor
from vprtrain.extractors.static import STATIC_WEIGHTS_FILE
from vprtrain.files import write_folder
from vprtrain.speaker.module import SpeakerModule

TOLERANCE = 1e-4
"""The largest allowed difference between the embeddings of an exported model and its checkpoint,
relative to the largest value of an embedding."""
_CHECKED_SECONDS = (0.9, 2.0, 3.7)
_OPSET = 17

Format = Literal["both", "paddle", "onnx"]
_FILES: dict[Format, tuple[str, ...]] = {
    "both": (STATIC_FILE, STATIC_WEIGHTS_FILE, ONNX_FILE),
    "paddle": (STATIC_FILE, STATIC_WEIGHTS_FILE),
    "onnx": (ONNX_FILE,),
}

log = logging.getLogger(__name__)


def export(
    saved: SavedCheckpoint,
    out_dir: Path,
    *,
    input: GraphInput = "waveform",
    format: Format = "both",
) -> None:
    """Write a checkpoint's model as graphs with two inputs and one output (:class:`ExportRecord`).

    The batch and time axes are dynamic. Before the folder appears, each graph is compared with the
    checkpoint on waveforms of three lengths, one by one and in one batch. ``model.state`` is the
    checkpoint's with the key ``export`` added; ``config.yaml`` is the checkpoint's.

    Args:
        saved: the checkpoint. Its averaged weights are used if it has them.
        out_dir: the new folder. It appears complete or not at all.
        input: the graphs' first input.
        format: the graphs to write.

    Raises:
        UsageError: ``out_dir`` exists, ``saved`` is an exported model, or a package for ONNX is
            not installed.
        CheckpointError: the checkpoint is not a speaker model's.
        RunError: the graph differs from the checkpoint, cannot be converted, or cannot be written.
    """
    if out_dir.exists():
        raise UsageError(f"{out_dir} exists already: give a new folder")
    if not saved.has(MODEL_FILE):
        raise UsageError(
            f"{saved.folder} is an exported model already: give the checkpoint it was made from"
        )
    if ONNX_FILE in _FILES[format]:
        _require_onnx()
    content = _content(saved, input, _FILES[format])
    try:
        write_folder(out_dir, content)
    except OSError as error:
        raise RunError(
            f"{out_dir} cannot be written ({error}): make room, or give another folder"
        ) from error


def export_folder(saved: SavedCheckpoint) -> Path:
    """The default folder of an export. It is outside the checkpoint, because a checkpoint is never
    written to."""
    return saved.folder.parent / "export" / saved.folder.name


def _content(saved: SavedCheckpoint, input: GraphInput, names: Sequence[str]) -> dict[str, bytes]:
    """All files of the export: the graphs ``names`` and the rest. The graphs are made and compared
    in a temporary folder."""
    checkpoint = CheckpointExtractor(saved, device="cpu")
    record = ExportRecord(
        input=input,
        weights_sha256=weights_sha256(saved),
        sample_rate=checkpoint.sample_rate,
        min_samples=checkpoint.min_samples,
        embedding_dim=checkpoint.embedding_dim,
    )
    with tempfile.TemporaryDirectory(prefix="vprtrain-export-") as temporary:
        graphs, candidate = Path(temporary, "graphs"), Path(temporary, "candidate")
        graphs.mkdir()
        _trace(checkpoint.module, input, graphs)
        if ONNX_FILE in names:
            _convert_to_onnx(graphs)
        files = {name: (graphs / name).read_bytes() for name in names} | {
            CONFIG_FILE: saved.read(CONFIG_FILE)
        }
        content = with_state(files, saved.state.with_extra(export=asdict(record)))
        write_folder(candidate, content)
        for name in (STATIC_FILE, ONNX_FILE):
            if name in names:
                _compare(open_extractor(candidate / name, "cpu"), checkpoint, name)
    return content


class _FromFeatures(paddle.nn.Layer):
    def __init__(self, module: SpeakerModule) -> None:
        super().__init__()
        self.model = module.model

    def forward(self, features: paddle.Tensor, lengths: paddle.Tensor) -> paddle.Tensor:
        return self.model(features, lengths)


class _FromWaveforms(paddle.nn.Layer):
    def __init__(self, module: SpeakerModule) -> None:
        super().__init__()
        self.model = module.model
        self.feature = module.feature

    def forward(self, waveforms: paddle.Tensor, lengths: paddle.Tensor) -> paddle.Tensor:
        return self.model(self.feature(waveforms, lengths), self.feature.frames(lengths))


def _trace(module: SpeakerModule, input: GraphInput, folder: Path) -> None:
    """Write the static graph and its weights."""
    log.info("tracing %s", type(module.model).__name__)
    tensor = paddle.static.InputSpec
    if input == "waveform":
        layer, first = _FromWaveforms(module), tensor([None, None], "float32", name="waveforms")
    else:
        size = module.feature.output_size
        layer, first = _FromFeatures(module), tensor([None, None, size], "float32", name="features")
    layer.eval()
    inputs = [first, tensor([None], "int64", name="lengths")]
    traced = paddle.jit.to_static(layer, input_spec=inputs, full_graph=True)
    paddle.jit.save(traced, str(folder / STATIC_FILE.removesuffix(".json")))


def _require_onnx() -> None:
    missing = [
        name for name in ("paddle2onnx", "onnxruntime") if importlib.util.find_spec(name) is None
    ]
    if missing:
        raise UsageError(
            f"ONNX needs {' and '.join(missing)}, not installed here: pip install "
            "'vprtrain[onnx]', or export with --format paddle"
        )


def _convert_to_onnx(folder: Path) -> None:
    """Convert the static model in a folder to ONNX, in the same folder.

    The converter runs in its own process: it writes to standard output, and it aborts at an unknown
    operator. Its graph optimizer is off, because it would install packages; onnxruntime optimizes
    the graph when it loads a model.

    Raises:
        RunError: the converter failed.
    """
    names = {
        "model_filename": STATIC_FILE,
        "params_filename": STATIC_WEIGHTS_FILE,
        "save_file": ONNX_FILE,
    }
    options = {
        **names,
        "opset_version": _OPSET,
        "enable_auto_update_opset": False,
        "optimize_tool": None,
    }
    command = [sys.executable, "-m", "paddle2onnx.command", "--model_dir=."]
    command += [f"--{name}={value}" for name, value in options.items()]
    log.info("converting to ONNX")
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, errors="replace")
    if done.returncode or not (folder / ONNX_FILE).is_file():
        reason = done.stderr.strip().rpartition("\n")[2] or f"status {done.returncode}"
        raise RunError(
            f"paddle2onnx cannot convert this model ({reason}); nothing was exported: export it "
            "with --format paddle, or build it from operations that paddle2onnx supports"
        )


def _compare(exported: Extractor, checkpoint: CheckpointExtractor, name: str) -> None:
    """Compare the embeddings of three waveforms, one by one and in one batch.

    Raises:
        RunError: an embedding differs by more than :data:`TOLERANCE`.
    """
    waveforms = _noises(checkpoint)
    expected = [checkpoint.embed([waveform])[0] for waveform in waveforms]
    alone = [exported.embed([waveform])[0] for waveform in waveforms]
    for found in (alone, exported.embed(waveforms)):
        for waveform, ours, theirs in zip(waveforms, expected, found, strict=True):
            difference = np.abs(theirs - ours).max() / np.abs(ours).max()
            if not difference <= TOLERANCE:  # also refuses NaN
                raise RunError(
                    f"{name} gives other embeddings than the checkpoint: on {len(waveform)} "
                    f"samples of noise they differ by {difference:.1e} of the largest value, "
                    f"expected at most {TOLERANCE:.0e}; nothing was exported"
                )


def _noises(checkpoint: CheckpointExtractor) -> Sequence[np.ndarray]:
    rng = np.random.default_rng(0)
    lengths = [
        checkpoint.min_samples + int(seconds * checkpoint.sample_rate)
        for seconds in _CHECKED_SECONDS
    ]
    return [0.1 * rng.standard_normal(length, dtype=np.float32) for length in lengths]
