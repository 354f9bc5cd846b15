"""The validation that ``fit`` does: ``rank_validation.py CHECKPOINT [OPTION OF FIT ..]`` prints its
metrics."""

from __future__ import annotations

import json
import sys

from vprtrain import runtime
from vprtrain.commands import training
from vprtrain.commands.config import CommandParser
from vprtrain.commands.recipe_options import with_config_files
from vprtrain.recipes import CNCELEB


def main(checkpoint: str, *options: str) -> None:
    runtime.prepare()
    parser = CommandParser()
    training.add_options(parser)
    config = parser.parse_args(with_config_files(list(options), CNCELEB))
    made = training.build(parser, config)
    print(json.dumps(made.engine.validate(made.module, made.data, checkpoint)), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
