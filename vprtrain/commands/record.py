"""``vprtrain record``."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from vprtrain.commands.config import CommandParser
from vprtrain.commands.model_options import add_json
from vprtrain.errors import UsageError

_MAX_SECONDS = 3600.0


def record(parser: CommandParser, arguments: list[str]) -> int:
    """Record speech from the microphone into a new WAV file; needs pip install 'vprtrain[mic]'."""
    parser.add_argument("out", help="the file; must not exist yet")
    parser.add_argument("--seconds", type=float, default=5.0, help="how long")
    parser.add_argument("--sample_rate", type=int, default=16000, help="in Hz")
    parser.add_argument(
        "--microphone",
        type=int | str | None,
        default=None,
        help="number or name of the device; default: the system's",
    )
    add_json(parser)
    options = parser.parse_args(arguments)
    if not 0 < options.seconds <= _MAX_SECONDS or options.sample_rate < 1:
        raise UsageError(
            f"--seconds is {options.seconds} and --sample_rate {options.sample_rate}: expected up to "
            f"{_MAX_SECONDS:g} s, and a rate above 0"
        )

    from vprtrain.data.audio import microphone

    samples = microphone.record(
        Path(options.out),
        seconds=options.seconds,
        sample_rate=options.sample_rate,
        microphone=options.microphone,
    )
    if not samples.any():
        print("warning: all is silent: is the microphone muted?", file=sys.stderr)
    seconds = len(samples) / options.sample_rate
    print(
        json.dumps({"path": options.out, "seconds": seconds})
        if options.json
        else f"{options.out}: {seconds:g} s"
    )
    return 0
