"""``vprtrain export``, and ``export`` of every recipe."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Literal

from vprtrain import runtime
from vprtrain.commands.config import CommandParser


def export(parser: CommandParser, arguments: list[str]) -> int:
    """Write a checkpoint's model for use without the training code: a static Paddle model, and
    ONNX.

    The new folder holds inference.json and inference.pdiparams (Paddle), inference.onnx, and
    model.state. Its models take batches of any size and length, and were compared with the
    checkpoint before the folder appeared. It can be given wherever a --checkpoint is asked for; its
    file inference.onnx too, to use the ONNX model. Voiceprints made with the checkpoint stay valid.
    """
    parser.add_argument(
        "--checkpoint",
        required=True,
        help="a run directory (its best_model), or a generation of it",
    )
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
        help="what the models take; with features, whoever uses them computes these",
    )
    parser.add_argument(
        "--format",
        type=Literal["both", "paddle", "onnx"],
        default="both",
        help="which models; ONNX needs pip install 'vprtrain[onnx]'",
    )
    parser.add_argument(
        "--json", action="store_true", help="print one JSON object and nothing else"
    )
    options = parser.parse_args(arguments)
    runtime.prepare()

    from vprtrain.checkpoint.store import BEST, resolve_checkpoint
    from vprtrain.extractors.exporting import export as export_model
    from vprtrain.extractors.exporting import export_folder

    saved = resolve_checkpoint(Path(options.checkpoint), prefer=BEST)
    out = export_folder(saved) if options.out is None else Path(options.out)
    export_model(saved, out, input=options.input, format=options.format)
    said = f"{out}: the model of {saved.folder}, equal to it on noise of three lengths"
    print(json.dumps({"path": str(out)}) if options.json else said)
    return 0
