"""``vprtrain average``."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

from vprtrain import runtime
from vprtrain.commands.config import CommandParser
from vprtrain.commands.options import add_json, print_result
from vprtrain.commands.own_modules import add_import, import_chosen
from vprtrain.errors import UsageError


def average(parser: CommandParser, arguments: list[str]) -> int:
    """Average the weights of several checkpoints of a run into a new checkpoint.

    CHECKPOINTS is last-N, the N newest generations of the run directory --checkpoint, or a list of
    its generations or of checkpoint paths, separated by spaces or commas. The running statistics of
    batch normalisation are averaged like weights; with --manifest they are estimated again from
    crops of these recordings. The new checkpoint has no optimizer state, and no metrics before it
    is validated: use it, or start a run from it with fit --init_from.
    """
    _add_options(parser)
    options = parser.parse_args(arguments)
    if options.batches < 1:
        raise UsageError(f"--batches is {options.batches}: expected 1 or more")
    runtime.prepare()
    import_chosen(options)

    from vprtrain.speaker.averaging import average as average_checkpoints
    from vprtrain.speaker.averaging import choose_checkpoints
    from vprtrain.speaker.data import SpeakerData
    from vprtrain.speaker.state import audio_format

    names = [name for item in options.checkpoints for name in item.split(",") if name]
    out = Path(options.out)
    chosen = choose_checkpoints(names, Path(options.checkpoint))
    batches = None
    if options.manifest is not None:
        data = SpeakerData.from_files(
            train_manifest=options.manifest,
            batch_size=options.batch_size,
            crop_seconds=options.crop_seconds,
            **audio_format(chosen[-1])._asdict(),
        )
        batches = islice(data.train_batches(0, 0), options.batches)
    average_checkpoints(chosen, out, batches=batches)
    statistics = "averaged" if batches is None else f"estimated from {options.manifest}"
    print_result(
        options,
        {"path": str(out)},
        f"{out}: the mean of {', '.join(saved.folder.name for saved in chosen)}; "
        f"batch normalisation statistics {statistics}",
    )
    return 0


def _add_options(parser: CommandParser) -> None:
    parser.add_argument("checkpoints", nargs="+", help="last-N, or a list of generations or paths")
    parser.add_argument("--checkpoint", default=".", help="the run directory")
    parser.add_argument("--out", required=True, help="the new checkpoint; must not exist yet")
    parser.add_argument(
        "--manifest",
        type=str | None,
        default=None,
        help="a training manifest; batch normalisation statistics are estimated from it",
    )
    parser.add_argument(
        "--batches", type=int, default=200, help="with --manifest: largest number of batches"
    )
    parser.add_argument(
        "--batch_size", type=int, default=64, help="with --manifest: crops in a batch"
    )
    parser.add_argument(
        "--crop_seconds", type=float, default=3.0, help="with --manifest: length of a crop"
    )
    add_import(parser)
    add_json(parser)
