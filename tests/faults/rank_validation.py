"""The validation that ``fit`` does: ``rank_validation.py CHECKPOINT [OPTION OF FIT ..]`` prints its
metrics."""

from __future__ import annotations

import json
import sys

from vprtrain import runtime
from vprtrain.commands import recipe
from vprtrain.commands.config import CommandParser


def main(checkpoint: str, *options: str) -> None:
    runtime.prepare()
    parser = CommandParser()
    recipe.add_fit_options(parser)
    config = parser.parse_args(list(options))
    run = recipe.build(parser, config)
    print(json.dumps(run.engine.validate(run.module, run.data, checkpoint)), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
