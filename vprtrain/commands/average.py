"""``vprtrain average``."""

from __future__ import annotations

import json
from pathlib import Path

from vprtrain import runtime
from vprtrain.commands.config import CommandParser
from vprtrain.errors import UsageError


def average(parser: CommandParser, arguments: list[str]) -> int:
    """Make one checkpoint of several of a run: the mean of their weights.

    CHECKPOINTS is last-N, the N newest generations of the run directory --checkpoint, or a list:
    names of its generations or paths of checkpoints, with blanks or commas between. The running
    statistics of batch norm are averaged like weights, or with --manifest estimated anew from crops
    of these recordings. The new checkpoint has no metrics before it is validated, and no optimizer
    state: use it, or start from it with fit --init_from.
    """
    parser.add_argument("checkpoints", nargs="+", help="last-N, or a list of generations or paths")
    parser.add_argument("--checkpoint", default=".", help="the run directory")
    parser.add_argument("--out", required=True, help="the new checkpoint; must not exist yet")
    parser.add_argument(
        "--manifest",
        type=str | None,
        default=None,
        help="a training manifest: estimate batch norm anew from it",
    )
    parser.add_argument(
        "--batches", type=int, default=200, help="with --manifest: how many batches at the most"
    )
    parser.add_argument(
        "--batch_size", type=int, default=64, help="with --manifest: crops in a batch"
    )
    parser.add_argument(
        "--crop_seconds", type=float, default=3.0, help="with --manifest: how long a crop is"
    )
    parser.add_argument(
        "--json", action="store_true", help="print one JSON object and nothing else"
    )
    options = parser.parse_args(arguments)
    if options.batches < 1:
        raise UsageError(f"--batches is {options.batches}: expected 1 or more")
    runtime.prepare()

    from itertools import islice

    from vprtrain.speaker.averaging import average as average_checkpoints
    from vprtrain.speaker.averaging import choose_checkpoints
    from vprtrain.speaker.data import SpeakerData
    from vprtrain.speaker.state import audio_format

    names = [name for item in options.checkpoints for name in item.split(",") if name]
    out = Path(options.out)
    chosen = choose_checkpoints(names, Path(options.checkpoint))
    batches = None
    if options.manifest is not None:
        data = SpeakerData(
            train_manifest=options.manifest,
            batch_size=options.batch_size,
            crop_seconds=options.crop_seconds,
            **audio_format(chosen[-1])._asdict(),
        )
        batches = islice(data.train_batches(0, 0), options.batches)
    average_checkpoints(chosen, out, batches=batches)
    statistics = "averaged" if batches is None else f"estimated anew from {options.manifest}"
    said = f"{out}: the mean of {', '.join(saved.folder.name for saved in chosen)}; batch norm's statistics {statistics}"
    print(json.dumps({"path": str(out)}) if options.json else said)
    return 0
