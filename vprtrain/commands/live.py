"""``vprtrain record --live``."""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import takewhile
from typing import TYPE_CHECKING

from jsonargparse import Namespace

from vprtrain.commands.config import CommandParser
from vprtrain.commands.options import (
    MANY,
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
from vprtrain.commands.printing import print_lines
from vprtrain.errors import UsageError

if TYPE_CHECKING:
    import numpy as np

    from vprtrain.inference import Decision

_MAX_SECONDS = 24 * 3600.0
_RATE = 16000
_BLOCK = 0.1


def record_live(parser: CommandParser, arguments: list[str]) -> int:
    """Say continuously who speaks into the microphone, until Ctrl-C.

    Args:
        parser: of ``record``, which has no options yet.
        arguments: without ``--live``.
    """
    parser.prog += " --live"
    parser.description = "Say continuously who speaks into the microphone, until Ctrl-C."
    _add_options(parser)
    options = parser.parse_args(name_detector(arguments))
    if not 0 < options.seconds <= _MAX_SECONDS:
        raise UsageError(f"--seconds is {options.seconds}: expected up to {_MAX_SECONDS:g} s")
    with open_predictor(
        options, voiceprints=_voiceprints(parser, options), recordings=MANY
    ) as predictor:
        stream = predictor.stream(
            sample_rate=_RATE,
            window=options.window,
            hop=options.hop,
            smoothing=options.smoothing,
            threshold=threshold_of(predictor, options),
            diarize=options.diarize,
        )
        decisions = []
        for chunk in _chunks(options):
            found = stream.feed(chunk)
            decisions += found if options.json else []
            _print_unless(options.json, found)
        rest = stream.finish()
        _print_unless(options.json, rest)
    if options.json:
        values = [each.as_json(diarize=options.diarize) for each in [*decisions, *rest]]
        print_result(options, {"decisions": values})
    return 0


def _voiceprints(parser: CommandParser, options: Namespace) -> str | None:
    """The database. Unknown voices are told apart without one too, if none is named."""
    is_named = options.voiceprints != parser.get_default("voiceprints")
    if options.diarize and not is_named and not os.path.exists(options.voiceprints):
        return None
    return existing_voiceprints(options)


def _add_options(parser: CommandParser) -> None:
    parser.add_argument(
        "--from", dest="source", default="", help="a recording in the place of the microphone"
    )
    parser.add_argument("--seconds", type=float, default=_MAX_SECONDS, help="end after this time")
    parser.add_argument("--window", type=float, default=1.5, help="seconds that are looked back")
    parser.add_argument("--hop", type=float, default=0.5, help="seconds between two decisions")
    parser.add_argument(
        "--smoothing", type=float, default=0.5, help="the share of earlier windows, 0 to below 1"
    )
    parser.add_argument(
        "--diarize",
        action="store_true",
        help="tell unknown voices apart: they are called speaker_1, speaker_2 and so on; nobody "
        "need be enrolled",
    )
    parser.add_argument(
        "--microphone", type=int | str | None, default=None, help="number or name of the device"
    )
    add_model_options(parser)
    add_voiceprints(parser)
    add_threshold(parser)
    add_json(parser)


def _chunks(options: Namespace) -> Iterator[np.ndarray]:
    """The samples of the recording, or of the microphone, until they are ``--seconds`` long."""
    if options.source:
        from vprtrain.data.audio import read_blocks

        yield from read_blocks(
            options.source,
            sample_rate=_RATE,
            duration=options.seconds,
            channel=options.channel,
        )
        return
    from vprtrain.data.audio.microphone import listen

    heard = listen(sample_rate=_RATE, microphone=options.microphone, block=_BLOCK)
    blocks = round(options.seconds / _BLOCK)
    yield from (chunk for _, chunk in takewhile(lambda each: each[0] < blocks, enumerate(heard)))


def _print_unless(as_json: bool, decisions: list[Decision]) -> None:
    from vprtrain.voiceprints.search import NO_SCORE

    for decision in [] if as_json else decisions:
        if decision.score is None:
            found = "nobody speaks"
        elif decision.score == NO_SCORE:
            found = f"{decision.speaker or 'somebody'}: nobody is enrolled"
        else:
            who = decision.user or decision.speaker or "none of the users"
            found = f"{who}: score {decision.score:.4f}, threshold {decision.threshold:.4f}"
        print_lines(f"{decision.end:8.1f} s  {found}")
