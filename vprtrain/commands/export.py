"""``vprtrain export``."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from jsonargparse import Namespace

from vprtrain import runtime
from vprtrain.commands.config import CommandParser
from vprtrain.commands.options import add_json, add_trained_checkpoint, print_result
from vprtrain.commands.own_modules import import_chosen
from vprtrain.errors import UsageError


def export(parser: CommandParser, arguments: list[str]) -> int:
    """Export a checkpoint's model for use without the training code: static Paddle and ONNX.

    The new folder holds inference.json and inference.pdiparams (Paddle), inference.onnx, and
    model.state. The models take batches of any size and length. Before the folder appears, they are
    compared with the checkpoint. Every command that takes --checkpoint accepts the folder, and its
    file inference.onnx for the ONNX model. Voiceprints made with the checkpoint stay valid.

    With --for sherpa-onnx or wespeaker, inference.onnx is a model for that runtime, which computes
    the features itself.
    """
    add_trained_checkpoint(parser)
    parser.add_argument(
        "--out",
        type=str | None,
        default=None,
        help="the new folder; default: export/<name> beside the checkpoint",
    )
    parser.add_argument(
        "--for",
        type=Literal["sherpa-onnx", "wespeaker", "onnx", "paddle"] | None,
        default=None,
        help="who runs the model: sherpa-onnx or WeSpeaker's runtime, or any program with "
        "onnxruntime or Paddle",
    )
    parser.add_argument(
        "--input",
        type=Literal["waveform", "features"] | None,
        default=None,
        help="the input of the exported models, waveform by default; with features, their user "
        "computes the features, as sherpa-onnx and wespeaker do",
    )
    parser.add_argument(
        "--format",
        type=Literal["both", "paddle", "onnx"] | None,
        default=None,
        help="which models to write, both by default; ONNX needs pip install 'vprtrain[onnx]'",
    )
    parser.add_argument(
        "--precision",
        type=Literal["float32", "float16", "int8"],
        default="float32",
        help="of the weights of an ONNX model of features: float16 halves the file, int8 (dynamic "
        "quantisation) makes it a quarter. Refused where embeddings move too far",
    )
    parser.add_argument(
        "--lengths",
        type=bool,
        default=True,
        help="take the lengths of a padded batch; without them, all waveforms of a batch have the "
        "same length, and a network of convolutions in ONNX takes up to a tenth less time",
    )
    add_json(parser)
    options = parser.parse_args(arguments)
    runtime.prepare()
    import_chosen(options)

    from vprtrain.checkpoint.links import BEST, resolve_checkpoint
    from vprtrain.extractors.exporting import export as export_model
    from vprtrain.extractors.exporting import export_folder

    saved = resolve_checkpoint(Path(options.checkpoint), prefer=BEST)
    out = export_folder(saved) if options.out is None else Path(options.out)
    said = export_model(saved, out, **_graph(options))
    print_result(options, {"path": str(out)}, f"{out}: the model of {saved.folder}, {said}")
    return 0


def _graph(options: Namespace) -> dict[str, Any]:
    """What the graphs are. ``--for`` decides the input and the format that are not given."""
    target = options["for"]
    is_client = target in ("sherpa-onnx", "wespeaker")
    by_target = {"sherpa-onnx": "onnx", "wespeaker": "onnx", None: "both"}.get(target, target)
    if options.format not in (None, by_target) and target is not None:
        raise UsageError(f"--for {target} and --format {options.format} contradict each other")
    return {
        "client": target if is_client else None,
        "input": options.input or ("features" if is_client else "waveform"),
        "format": options.format or by_target,
        "precision": options.precision,
        "lengths": options.lengths,
    }
