"""``vprtrain simulate``."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from jsonargparse import Namespace

from vprtrain.commands.config import CommandParser
from vprtrain.commands.options import add_json, print_result
from vprtrain.errors import RunError, UsageError, require_whole, shown

if TYPE_CHECKING:
    from vprtrain.data.conversations import ConversationSimulator

_MOST = 1_000_000


def simulate(parser: CommandParser, arguments: list[str]) -> int:
    """Make conversations from the utterances of a manifest, with who speaks when.

    Each conversation is a recording (NAME_0000.wav and so on), its segments (.rttm) and its extent
    (.uem). People take turns, pause, and sometimes talk over each other; --rooms and --noise add
    reverberation and noise (vprtrain prepare makes these manifests). A conversation depends on the
    options and its number only.
    """
    _add_options(parser)
    options = parser.parse_args(arguments)
    require_whole("--conversations", options.conversations, 1, _MOST)
    if os.sep in options.name:
        raise UsageError(
            f"--name is {shown(options.name)}: expected the beginning of a file's name; the folder "
            "is --out"
        )

    from tqdm import tqdm

    from vprtrain.data.conversations import write_conversation

    simulator, folder = _simulator(options), Path(options.out)
    speech = 0.0
    for number in tqdm(
        range(options.conversations), unit="conversation", dynamic_ncols=True, disable=None
    ):
        conversation = simulator.conversation(number)
        name = f"{options.name}_{number:04d}"
        try:
            write_conversation(folder, name, conversation, sample_rate=simulator.sample_rate)
        except OSError as error:
            raise RunError(
                f"{folder} cannot be written ({error}): make room, or give another --out"
            ) from error
        speech += sum(segment.duration for segment in conversation.segments)
    seconds = options.conversations * options.seconds
    result = {
        "folder": str(folder),
        "conversations": options.conversations,
        "seconds": seconds,
        "speech": speech,
    }
    print_result(
        options,
        result,
        f"{options.conversations:,} conversations of {options.seconds:g} s in {folder}; "
        f"{speech / seconds:.1%} of the time is speech, where two voices at once count twice",
    )
    return 0


def _add_options(parser: CommandParser) -> None:
    parser.add_argument("manifest", help="utterances: lines of path<TAB>speaker")
    parser.add_argument("--out", default="conversations", help="the folder of the files")
    parser.add_argument("--name", default="conversation", help="the beginning of the files' names")
    parser.add_argument("--conversations", type=int, default=10, help="how many to make")
    parser.add_argument(
        "--speakers",
        type=int | tuple[int, int],
        default=(2, 4),
        help="the speakers of a conversation: their number, or [FEWEST,MOST]",
    )
    parser.add_argument(
        "--seconds", type=float, default=300.0, help="the duration of each conversation"
    )
    parser.add_argument(
        "--turn_seconds",
        type=tuple[float, float],
        default=(1.0, 10.0),
        help="[SHORTEST,LONGEST] turn",
    )
    parser.add_argument(
        "--pause_seconds", type=float, default=0.6, help="the mean pause between turns"
    )
    parser.add_argument(
        "--overlap",
        type=float,
        default=0.15,
        help="the probability that another speaker begins before a turn has ended",
    )
    parser.add_argument(
        "--rooms",
        type=str | None,
        default=None,
        help="a manifest of impulse responses, one for each speaker; default: no reverberation",
    )
    parser.add_argument(
        "--noise",
        type=str | None,
        default=None,
        help="a manifest of noise, music and speech (babble); default: no noise",
    )
    parser.add_argument(
        "--snr",
        type=tuple[float, float],
        default=(5.0, 20.0),
        help="[LOWEST,HIGHEST] ratio of the conversation to the noise, in dB",
    )
    parser.add_argument("--seed", type=int, default=0, help="another seed: other conversations")
    add_json(parser)


def _simulator(options: Namespace) -> ConversationSimulator:
    from vprtrain.data.augmentation import AdditiveNoise, Reverberation
    from vprtrain.data.conversations import ConversationSimulator, ConversationStyle
    from vprtrain.data.manifest import read_manifest

    given = options.speakers
    style = ConversationStyle(
        seconds=options.seconds,
        speakers=given if isinstance(given, tuple) else (given, given),
        turn_seconds=options.turn_seconds,
        pause_seconds=options.pause_seconds,
        overlap=options.overlap,
    )
    room = options.rooms and Reverberation(manifest=options.rooms, probability=1.0)
    noise = options.noise and AdditiveNoise(
        manifest=options.noise,
        noise_snr=options.snr,
        music_snr=options.snr,
        babble_snr=options.snr,
        probability=1.0,
    )
    return ConversationSimulator(
        read_manifest(options.manifest), seed=options.seed, style=style, room=room, noise=noise
    )
