"""``vprtrain identify``."""

from __future__ import annotations

from vprtrain.commands.config import CommandParser
from vprtrain.commands.options import (
    add_json,
    add_model_options,
    add_threshold,
    add_voiceprints,
    existing_voiceprints,
    name_detector,
    open_predictor,
    print_result,
    threshold_of,
)


def identify(parser: CommandParser, arguments: list[str]) -> int:
    """Find which enrolled user speaks in a recording, if any."""
    parser.add_argument("audio", help="a recording in any format")
    add_model_options(parser)
    add_voiceprints(parser)
    add_threshold(parser)
    add_json(parser)
    options = parser.parse_args(name_detector(arguments))
    with open_predictor(options, voiceprints=existing_voiceprints(options)) as predictor:
        threshold = threshold_of(predictor, options)
        user, score = predictor.recognize(options.audio, threshold)
    print_result(
        options,
        {"user": user, "score": score, "threshold": threshold},
        f"{user or 'none of the users'}: score {score:.4f}, threshold {threshold:.4f}",
    )
    return 0
