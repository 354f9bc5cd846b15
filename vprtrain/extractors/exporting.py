"""The export of a checkpoint to models that need no training code: static Paddle and ONNX."""

from __future__ import annotations

import json
import logging
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

import paddle

from vprtrain.checkpoint.file_names import CONFIG_FILE, MODEL_FILE
from vprtrain.checkpoint.state_file import SavedCheckpoint, open_checkpoint, with_state
from vprtrain.errors import RunError, UsageError
from vprtrain.evaluation.extraction import weights_sha256
from vprtrain.extractors.checkpoint import CheckpointExtractor
from vprtrain.extractors.clients import client_metadata, front_end_differences
from vprtrain.extractors.export_check import require_near, require_same
from vprtrain.extractors.exported import Client, ExportRecord, GraphInput, Precision
from vprtrain.extractors.extractor import ONNX_FILE, STATIC_FILE, Extractor
from vprtrain.extractors.onnx import OnnxExtractor
from vprtrain.extractors.onnx_writing import require_onnx_packages, write_onnx
from vprtrain.extractors.static import STATIC_WEIGHTS_FILE, StaticExtractor
from vprtrain.files import write_folder
from vprtrain.speaker.module import SpeakerModule
from vprtrain.speaker.state import BACKEND_FILE
from vprtrain.version import __version__

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
    client: Client | None = None,
    precision: Precision = "float32",
    lengths: bool = True,
) -> str:
    """Write a checkpoint's model as graphs from waveforms or features to embeddings
    (:class:`ExportRecord`).

    The batch and time axes are dynamic. Before the folder appears, each graph is compared with the
    checkpoint: weights of float32 on noise of three lengths, one by one and in one batch, others on
    synthetic voices. ``model.state`` is the checkpoint's with the key ``export`` added;
    ``config.yaml`` and the arrays of the back end are the checkpoint's.

    Args:
        saved: the checkpoint. Its averaged weights are used if it has them.
        out_dir: the new folder. It appears complete or not at all.
        input: the graphs' first input.
        format: the graphs to write.
        client: the runtime that the graph is for; it takes "features" and the format "onnx".
        precision: of the weights of the ONNX model. Lower ones need the input "features", because
            the powers of a waveform need the range and the digits of float32.
        lengths: whether the graphs take the lengths of a padded batch, unless there is a client.
            Without them, ONNX Runtime has no padding to clear between convolutions: ResNet34 takes
            0.9 of the time on a CPU.

    Returns:
        The result of the comparison, for a person.

    Raises:
        UsageError: ``out_dir`` exists, ``saved`` is an exported model, a package for ONNX is not
            installed, the options do not fit together or the model, or the client cannot have the
            checkpoint's back end.
        CheckpointError: the checkpoint is not a speaker model's.
        RunError: the graph differs from the checkpoint, cannot be converted, or cannot be written.
    """
    if out_dir.exists():
        raise UsageError(f"{out_dir} exists already: give a new folder")
    if not saved.has(MODEL_FILE):
        raise UsageError(
            f"{saved.folder} is an exported model already: give the checkpoint it was made from"
        )
    if client is not None and (input, format) != ("features", "onnx"):
        raise UsageError(
            f"{client} takes an ONNX model of features: leave out --input and --format"
        )
    if precision != "float32" and (input != "features" or format != "onnx"):
        raise UsageError(
            f"--precision {precision} is for ONNX models of features: add --input features "
            "--format onnx"
        )
    if ONNX_FILE in _FILES[format]:
        require_onnx_packages(precision)
    checkpoint = CheckpointExtractor(saved, device="cpu")
    if client is not None:
        _require_cosine(client, checkpoint)
        _warn_of_differences(client, checkpoint)
    record = ExportRecord(
        input=input,
        weights_sha256=weights_sha256(saved),
        sample_rate=checkpoint.sample_rate,
        min_samples=checkpoint.min_samples,
        embedding_dim=checkpoint.embedding_dim,
        client=client,
        precision=precision,
        lengths=lengths,
    )
    content, said = _content(saved, checkpoint, record, _FILES[format])
    try:
        write_folder(out_dir, content)
    except OSError as error:
        raise RunError(
            f"{out_dir} cannot be written ({error}): make room, or give another folder"
        ) from error
    return said


def export_folder(saved: SavedCheckpoint) -> Path:
    """The default folder of an export. It is outside the checkpoint, because a checkpoint is never
    written to."""
    return saved.folder.parent / "export" / saved.folder.name


def _require_cosine(client: Client, checkpoint: CheckpointExtractor) -> None:
    backend = checkpoint.state.backend
    if not backend.is_cosine:
        raise UsageError(
            f"{client} compares embeddings by cosines, but the threshold of this checkpoint is for "
            f"its back end {backend}: calibrate it with --backend cosine first, or export without "
            "--for"
        )


def _warn_of_differences(client: Client, checkpoint: CheckpointExtractor) -> None:
    if differences := front_end_differences(client, checkpoint.module.feature):
        log.warning(
            "%s computes the features itself and not exactly as the model was trained: %s; its "
            "embeddings differ from the checkpoint's, so estimate the threshold with %s",
            client,
            "; ".join(differences),
            client,
        )


def _content(
    saved: SavedCheckpoint,
    checkpoint: CheckpointExtractor,
    record: ExportRecord,
    names: Sequence[str],
) -> tuple[dict[str, bytes], str]:
    """All files of the export, the graphs ``names`` and the rest; and how the graphs compare. They
    are made and compared in a temporary folder."""
    said = ""
    with tempfile.TemporaryDirectory(prefix="vprtrain-export-") as temporary:
        graphs, candidate = Path(temporary, "graphs"), Path(temporary, "candidate")
        graphs.mkdir()
        _trace(checkpoint.module, record, graphs)
        if ONNX_FILE in names:
            write_onnx(graphs, record, _metadata(checkpoint, record))
        kept = [name for name in (CONFIG_FILE, BACKEND_FILE) if saved.has(name)]
        files = {name: (graphs / name).read_bytes() for name in names} | {
            name: saved.read(name) for name in kept
        }
        content = with_state(files, saved.state.with_extra(export=record.as_json()))
        write_folder(candidate, content)
        made = open_checkpoint(candidate)
        graphs_in_use: dict[str, Callable[[], Extractor]] = {
            STATIC_FILE: lambda: StaticExtractor(made, device="cpu"),
            ONNX_FILE: lambda: OnnxExtractor(made, device="cpu", batches=True),
        }
        for name, opened in graphs_in_use.items():
            if name in names:
                exported = opened()
                if record.precision == "float32":
                    said = require_same(exported, checkpoint, name)
                else:
                    said = require_near(exported, checkpoint, record.precision)
    return content, said


class _FromFeatures(paddle.nn.Layer):
    def __init__(self, module: SpeakerModule) -> None:
        super().__init__()
        self.model = module.model

    def forward(
        self, features: paddle.Tensor, lengths: paddle.Tensor | None = None
    ) -> paddle.Tensor:
        return self.model(features, lengths)


class _FromWaveforms(paddle.nn.Layer):
    def __init__(self, module: SpeakerModule) -> None:
        super().__init__()
        self.model = module.model
        self.feature = module.feature

    def forward(
        self, waveforms: paddle.Tensor, lengths: paddle.Tensor | None = None
    ) -> paddle.Tensor:
        frames = None if lengths is None else self.feature.frames(lengths)
        return self.model(self.feature(waveforms, lengths), frames)


def _trace(module: SpeakerModule, record: ExportRecord, folder: Path) -> None:
    """Write the static graph and its weights."""
    log.info("tracing %s", type(module.model).__name__)
    tensor = paddle.static.InputSpec
    first, *second = record.interface.inputs
    layer: paddle.nn.Layer
    shape: list[int | None]
    if record.input == "waveform":
        layer, shape = _FromWaveforms(module), [None, None]
    else:
        layer, shape = _FromFeatures(module), [None, None, module.feature.output_size]
    layer.eval()
    inputs = [tensor(shape, "float32", name=first)]
    inputs += [tensor([None], "int64", name=name) for name in second]
    traced = paddle.jit.to_static(layer, input_spec=inputs, full_graph=True)
    paddle.jit.save(traced, str(folder / STATIC_FILE.removesuffix(".json")))


def _metadata(checkpoint: CheckpointExtractor, record: ExportRecord) -> dict[str, str]:
    """What a user of the ONNX model alone has to know."""
    state = checkpoint.state
    about = {
        "vprtrain_version": __version__,
        "model": json.dumps(state.model),
        "front_end": json.dumps(state.feature),
        "sample_rate": str(record.sample_rate),
        "embedding_dim": str(record.embedding_dim),
        "precision": record.precision,
        "digest": checkpoint.digest,
    }
    if state.threshold is not None:
        about["threshold"] = repr(state.threshold)
        about["backend"] = str(state.backend)
    if record.client is not None:
        feature = checkpoint.module.feature
        about |= client_metadata(record.client, feature, record.embedding_dim)
    return about
