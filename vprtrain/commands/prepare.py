"""``vprtrain prepare``."""

from __future__ import annotations

from vprtrain.commands.config import CommandParser
from vprtrain.commands.printing import print_lines
from vprtrain.commands.recipe_options import add_recipe, split_recipe
from vprtrain.ranks.launched_ranks import require_one_process


def prepare(parser: CommandParser, arguments: list[str]) -> int:
    """Make the manifests that fit and validate read.

    No audio is copied or changed unless an option asks for it. After an interruption, the same
    command takes up the work where it ended.
    """
    recipe, others = split_recipe(arguments, default="own")
    assert recipe is not None
    add_recipe(parser, "the data set, own by default; each has its own options (--help)")
    recipe.add_options(parser)
    _add_common_options(parser, out_dir=recipe.out_dir)
    options = parser.parse_args(others)
    require_one_process("prepare")

    from vprtrain.data.preparation import Preparation
    from vprtrain.data.preparation.noise import prepare_musan, prepare_rirs

    preparation = Preparation(
        out_dir=options.out_dir,
        min_seconds=options.min_seconds,
        workers=options.workers,
        check=options.check,
        shards=options.shards,
    )
    if options.musan is not None:
        prepare_musan(preparation, options.musan)
    if options.rirs is not None:
        prepare_rirs(preparation, options.rirs)
    recipe.prepare(preparation, options)
    print_lines(*preparation.finish().lines)
    return 0


def _add_common_options(parser: CommandParser, *, out_dir: str) -> None:
    parser.add_argument("--out_dir", default=out_dir, help="the folder for all files written")
    parser.add_argument(
        "--min_seconds", type=float, default=0.5, help="leave out shorter training utterances"
    )
    parser.add_argument("--workers", type=int, default=8, help="number of threads")
    parser.add_argument(
        "--check",
        action="store_true",
        help="decode every recording now; bad ones are not trained on, and bad_audio.tsv names "
        "them",
    )
    parser.add_argument(
        "--shards",
        action="store_true",
        help="also pack the training utterances into tar files of about 512 MB in out_dir/shards, "
        "for fit --data.shards",
    )
    parser.add_argument(
        "--musan", type=str | None, default=None, help="the folder of MUSAN; makes musan.tsv"
    )
    parser.add_argument(
        "--rirs", type=str | None, default=None, help="the folder RIRS_NOISES; makes rirs.tsv"
    )
