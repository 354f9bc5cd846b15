"""``vprtrain contrast``."""

from __future__ import annotations

from vprtrain.commands.config import CommandParser
from vprtrain.commands.options import (
    add_json,
    add_model_options,
    add_threshold,
    name_detector,
    open_predictor,
    print_result,
    threshold_if_known,
)


def contrast(parser: CommandParser, arguments: list[str]) -> int:
    """Compare the voices of two recordings.

    Prints the score, which is the cosine of the two embeddings, and whether both recordings are of
    the same speaker. A model that was never validated or calibrated has no threshold: it gives the
    score only.
    """
    parser.add_argument("first", help="a recording in any format")
    parser.add_argument("second", help="another recording")
    add_model_options(parser)
    add_threshold(parser)
    add_json(parser)
    options = parser.parse_args(name_detector(arguments))
    with open_predictor(options) as predictor:
        threshold = threshold_if_known(predictor, options)
        score = predictor.contrast(options.first, options.second)
        used = predictor.runtime
    same = None if threshold is None else score >= threshold
    if threshold is None:
        line = (
            f"score {score:.4f}; the threshold of this model is unknown: estimate it from "
            "recordings of your own (vprtrain calibrate), or give one (--threshold)"
        )
    else:
        line = (
            f"{'the same speaker' if same else 'different speakers'}: "
            f"score {score:.4f}, threshold {threshold:.4f}"
        )
    result = {"score": score, "same_speaker": same, "threshold": threshold, "runtime": used}
    print_result(options, result, line)
    return 0
