"""``vprtrain embed``."""

from __future__ import annotations

from vprtrain.commands.config import CommandParser
from vprtrain.commands.options import (
    add_json,
    add_model_options,
    name_detector,
    open_predictor,
    print_result,
)


def embed(parser: CommandParser, arguments: list[str]) -> int:
    """Print the embedding of a recording.

    It is not normalised. Without --json its values are separated by spaces.
    """
    parser.add_argument("audio", help="a recording in any format")
    add_model_options(parser)
    add_json(parser)
    options = parser.parse_args(name_detector(arguments))
    with open_predictor(options) as predictor:
        embedding = predictor.embed(options.audio).tolist()
    print_result(options, {"embedding": embedding}, " ".join(f"{value:.6g}" for value in embedding))
    return 0
