"""``vprtrain convert``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Literal

from vprtrain import runtime
from vprtrain.commands.config import CommandParser

Toolkit = Literal["ppvector", "3dspeaker", "wespeaker", "speechbrain"]


def convert(parser: CommandParser, arguments: list[str]) -> int:
    """Make a checkpoint of another toolkit's model: ppvector, 3D-Speaker, WeSpeaker or SpeechBrain.

    SOURCE is a checkpoint folder of ppvector's (with model.pdparams), or the PyTorch file of the
    others: the embedding model of 3D-Speaker or SpeechBrain, avg_model.pt of WeSpeaker. PyTorch is
    not needed, and nothing in the files is executed. OUT_DIR must not exist yet; it can be given
    wherever a --checkpoint is asked for, and to fit as --init_from, with its config.yaml as
    --config.
    """
    parser.add_argument(
        "--from", type=Toolkit, required=True, help="the toolkit that trained the model"
    )
    parser.add_argument("source", help="ppvector's checkpoint folder, or the others' PyTorch file")
    parser.add_argument("out_dir", help="the new checkpoint")
    parser.add_argument(
        "--source_config",
        type=str | None,
        default=None,
        help="the YAML file that ppvector trained with; by default it is looked for in the folder, in those above it, "
        "and in a folder configs in any of these",
    )
    parser.add_argument(
        "--json", action="store_true", help="print one JSON object and nothing else"
    )
    options = parser.parse_args(arguments)
    runtime.prepare()

    from vprtrain.conversion.converting import convert as convert_files

    source_config = None if options.source_config is None else Path(options.source_config)
    out_dir = Path(options.out_dir)
    summary = convert_files(
        options["from"], Path(options.source), out_dir, source_config=source_config
    )
    print(json.dumps({"path": str(out_dir)}) if options.json else f"{out_dir}: {summary}")
    return 0
