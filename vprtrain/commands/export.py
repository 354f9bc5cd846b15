"""``vprtrain export``."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from vprtrain import runtime
from vprtrain.commands.config import CommandParser
from vprtrain.commands.options import add_json, add_trained_checkpoint, print_result
from vprtrain.commands.own_modules import import_chosen


def export(parser: CommandParser, arguments: list[str]) -> int:
    """Export a checkpoint's model for use without the training code: static Paddle and ONNX.

    The new folder holds inference.json and inference.pdiparams (Paddle), inference.onnx, and
    model.state. The models take batches of any size and length. Before the folder appears, they are
    compared with the checkpoint. Every command that takes --checkpoint accepts the folder, and its
    file inference.onnx for the ONNX model. Voiceprints made with the checkpoint stay valid.
    """
    add_trained_checkpoint(parser)
    parser.add_argument(
        "--out",
        type=str | None,
        default=None,
        help="the new folder; default: export/<name> beside the checkpoint",
    )
    parser.add_argument(
        "--input",
        type=Literal["waveform", "features"],
        default="waveform",
        help="the input of the exported models; with features, their user computes the features",
    )
    parser.add_argument(
        "--format",
        type=Literal["both", "paddle", "onnx"],
        default="both",
        help="which models to write; ONNX needs pip install 'vprtrain[onnx]'",
    )
    add_json(parser)
    options = parser.parse_args(arguments)
    runtime.prepare()
    import_chosen(options)

    from vprtrain.checkpoint.store import BEST, resolve_checkpoint
    from vprtrain.extractors.exporting import export as export_model
    from vprtrain.extractors.exporting import export_folder

    saved = resolve_checkpoint(Path(options.checkpoint), prefer=BEST)
    out = export_folder(saved) if options.out is None else Path(options.out)
    export_model(saved, out, input=options.input, format=options.format)
    print_result(
        options,
        {"path": str(out)},
        f"{out}: the model of {saved.folder}, equal to it on noise of three lengths",
    )
    return 0
