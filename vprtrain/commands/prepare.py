"""``vprtrain prepare``, and what it shares with the ``prepare`` of every recipe."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from jsonargparse import Namespace

from vprtrain.commands.config import CommandParser
from vprtrain.ranks.launched_ranks import require_one_process

if TYPE_CHECKING:
    from vprtrain.data.preparation import Preparation

Origin = Literal["folder", "kaldi", "ppvector"]


def prepare(parser: CommandParser, arguments: list[str]) -> int:
    """Make the manifests of a data set that has no recipe; no audio is copied.

    SOURCE is a folder that holds a folder of recordings for every speaker (folder), a Kaldi
    directory with wav.scp and utt2spk (kaldi), or a list of ppvector's, lines of path<TAB>label
    (ppvector).
    """
    parser.add_argument("--from", type=Origin, required=True, help="what SOURCE is")
    parser.add_argument("source", help="the folder or the list")
    parser.add_argument(
        "--root", default=".", help="the folder from which relative paths in the lists are meant"
    )
    parser.add_argument(
        "--held_out",
        type=int,
        default=0,
        help="so many speakers, drawn at random, are not trained on: eval.tsv and trials.txt are made of at most 20 "
        "utterances of each: all their pairs, of those of two speakers about a million at most",
    )
    add_options(parser, out_dir="data")
    options = parser.parse_args(arguments)

    def find(preparation: Preparation) -> None:
        from vprtrain.data.preparation.corpora import READERS
        from vprtrain.data.preparation.holding_out import hold_out, refuse_former_trials

        if not options.held_out:
            refuse_former_trials(preparation.out)
        utterances = READERS[options["from"]](Path(options.source), Path(options.root).resolve())
        rows = preparation.measure(utterances)
        if options.held_out:
            rows = hold_out(preparation, rows, options.held_out)
        preparation.write_training(rows)

    return carry_out(options, find)


def add_options(parser: CommandParser, *, out_dir: str) -> None:
    """Declare what every preparation can be told."""
    parser.add_argument("--out_dir", default=out_dir, help="where everything is written")
    parser.add_argument(
        "--min_seconds", type=float, default=0.5, help="shorter training utterances are left out"
    )
    parser.add_argument("--workers", type=int, default=8, help="threads")
    parser.add_argument(
        "--check",
        action="store_true",
        help="decode every recording beforehand; what is bad is left out of the training and named in bad_audio.tsv",
    )
    parser.add_argument(
        "--shards",
        action="store_true",
        help="also pack the training utterances into out_dir/shards, tar files of about 512 MB, for --data.shards",
    )
    parser.add_argument(
        "--musan", type=str | None, default=None, help="the folder of MUSAN, for musan.tsv"
    )
    parser.add_argument(
        "--rirs", type=str | None, default=None, help="the folder RIRS_NOISES, for rirs.tsv"
    )


def carry_out(options: Namespace, find: Callable[[Preparation], None]) -> int:
    """Prepare by these options what ``find`` finds, and print the summary."""
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
    find(preparation)
    # which may not have all that is in the names of files
    encoding = sys.stdout.encoding or "utf-8"
    print(str(preparation.finish()).encode(encoding, errors="backslashreplace").decode(encoding))
    return 0
