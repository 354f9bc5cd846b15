"""``vprtrain convert``."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from vprtrain import runtime
from vprtrain.commands.config import CommandParser
from vprtrain.commands.options import add_json, print_result

Toolkit = Literal["ppvector", "3dspeaker", "wespeaker", "speechbrain"]


def convert(parser: CommandParser, arguments: list[str]) -> int:
    """Convert a model of ppvector, 3D-Speaker, WeSpeaker or SpeechBrain to a checkpoint.

    SOURCE is a checkpoint folder of ppvector (with model.pdparams), or a PyTorch file of another
    toolkit: the embedding model of 3D-Speaker or SpeechBrain, avg_model.pt of WeSpeaker. PyTorch is
    not needed, and no code in the files is executed. OUT_DIR must not exist yet. Every command that
    takes --checkpoint accepts it; fit accepts it as --init_from, and its config.yaml as --config.
    """
    parser.add_argument(
        "--from", type=Toolkit, required=True, help="the toolkit that trained the model"
    )
    parser.add_argument(
        "source", help="ppvector's checkpoint folder, or another toolkit's PyTorch file"
    )
    parser.add_argument("out_dir", help="the new checkpoint")
    parser.add_argument(
        "--source_config",
        type=str | None,
        default=None,
        help="the YAML file of the ppvector training; default: searched for in the folder, in the "
        "folders above it, and in a subfolder configs of each",
    )
    add_json(parser)
    options = parser.parse_args(arguments)
    runtime.prepare()

    from vprtrain.conversion.converting import convert as convert_files

    source_config = None if options.source_config is None else Path(options.source_config)
    out_dir = Path(options.out_dir)
    summary = convert_files(
        options["from"], Path(options.source), out_dir, source_config=source_config
    )
    print_result(options, {"path": str(out_dir)}, f"{out_dir}: {summary}")
    return 0
