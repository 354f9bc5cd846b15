"""``vprtrain contrast``, ``embed`` and ``identify``: what a model says of recordings."""

from __future__ import annotations

import json

from vprtrain.commands.config import CommandParser
from vprtrain.commands.model_options import (
    add_json,
    add_model_options,
    add_threshold,
    add_voiceprints,
    existing_voiceprints,
    open_predictor,
    threshold_of,
)


def contrast(parser: CommandParser, arguments: list[str]) -> int:
    """Compare the voices of two recordings: the cosine of their embeddings, and whether it is the
    same speaker."""
    parser.add_argument("first", help="a recording, in any format")
    parser.add_argument("second", help="another one")
    add_model_options(parser)
    add_threshold(parser)
    add_json(parser)
    options = parser.parse_args(arguments)
    with open_predictor(options) as predictor:
        threshold = threshold_of(predictor, options)
        score = predictor.contrast(options.first, options.second)
    same = score >= threshold
    if options.json:
        print(json.dumps({"score": score, "same_speaker": same, "threshold": threshold}))
    else:
        print(
            f"{'the same speaker' if same else 'different speakers'}: score {score:.4f}, threshold {threshold:.4f}"
        )
    return 0


def embed(parser: CommandParser, arguments: list[str]) -> int:
    """Print the embedding of a recording, not normalised; without --json, its numbers with blanks
    between."""
    parser.add_argument("audio", help="a recording, in any format")
    add_model_options(parser)
    add_json(parser)
    options = parser.parse_args(arguments)
    with open_predictor(options) as predictor:
        embedding = predictor.embed(options.audio).tolist()
    print(
        json.dumps({"embedding": embedding})
        if options.json
        else " ".join(f"{value:.6g}" for value in embedding)
    )
    return 0


def identify(parser: CommandParser, arguments: list[str]) -> int:
    """Say who of the enrolled users speaks in a recording, if it is one of them."""
    parser.add_argument("audio", help="a recording, in any format")
    add_model_options(parser)
    add_voiceprints(parser)
    add_threshold(parser)
    add_json(parser)
    options = parser.parse_args(arguments)
    with open_predictor(options, voiceprints=existing_voiceprints(options)) as predictor:
        threshold = threshold_of(predictor, options)
        user, score = predictor.recognize(options.audio, threshold)
    if options.json:
        print(json.dumps({"user": user, "score": score, "threshold": threshold}))
    else:
        print(f"{user or 'none of the users'}: score {score:.4f}, threshold {threshold:.4f}")
    return 0
