"""``vprtrain record``."""

from __future__ import annotations

from pathlib import Path

from vprtrain.commands.config import CommandParser
from vprtrain.commands.live import record_live
from vprtrain.commands.options import add_json, print_result
from vprtrain.commands.printing import print_warning
from vprtrain.errors import UsageError

_MAX_SECONDS = 3600.0


def record(parser: CommandParser, arguments: list[str]) -> int:
    """Record speech from the microphone into a new WAV file.

    With --live nothing is written: the speaker is recognised continuously, as --live --help
    explains. Needs pip install 'vprtrain[mic]'.
    """
    if "--live" in arguments:
        return record_live(parser, [each for each in arguments if each != "--live"])
    parser.add_argument("out", help="the WAV file; must not exist yet")
    parser.add_argument("--seconds", type=float, default=5.0, help="length of the recording")
    parser.add_argument("--sample_rate", type=int, default=16000, help="in Hz")
    parser.add_argument(
        "--microphone",
        type=int | str | None,
        default=None,
        help="number or name of the device; default: the system's default device",
    )
    add_json(parser)
    options = parser.parse_args(arguments)
    if not 0 < options.seconds <= _MAX_SECONDS or options.sample_rate < 1:
        raise UsageError(
            f"--seconds is {options.seconds} and --sample_rate {options.sample_rate}: expected up "
            f"to {_MAX_SECONDS:g} s, and a rate above 0"
        )

    from vprtrain.data.audio import microphone

    samples = microphone.record(
        Path(options.out),
        seconds=options.seconds,
        sample_rate=options.sample_rate,
        microphone=options.microphone,
    )
    if not samples.any():
        print_warning("every sample is zero: is the microphone muted?")
    seconds = len(samples) / options.sample_rate
    print_result(
        options, {"path": options.out, "seconds": seconds}, f"{options.out}: {seconds:g} s"
    )
    return 0
