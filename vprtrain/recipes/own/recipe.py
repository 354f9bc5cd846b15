"""The recipe ``own``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from jsonargparse import ArgumentParser, Namespace

from vprtrain.recipes.recipe import Recipe

if TYPE_CHECKING:
    from vprtrain.data.preparation import Preparation

Origin = Literal["folder", "kaldi", "ppvector"]


def _add_options(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--from",
        type=Origin,
        required=True,
        help="what SOURCE is: a folder with a subfolder of recordings for every speaker, a Kaldi "
        "directory with wav.scp and utt2spk, or a list of ppvector's (lines of path<TAB>label)",
    )
    parser.add_argument("source", help="the folder or the list")
    parser.add_argument(
        "--root", default=".", help="the folder that relative paths in the lists start from"
    )
    parser.add_argument(
        "--held_out",
        type=int,
        default=0,
        help="number of speakers, drawn at random, to validate on instead of training on them: "
        "eval.tsv gets at most 20 utterances of each, trials.txt all pairs of these (about a "
        "million pairs of different speakers at most)",
    )


def _prepare(preparation: Preparation, options: Namespace) -> None:
    from vprtrain.recipes.own.prepare import prepare

    prepare(
        preparation,
        Path(options.source),
        origin=options["from"],
        root=Path(options.root),
        held_out=options.held_out,
        shards=options.shards,
    )


OWN = Recipe(
    name="own",
    title="data of your own",
    folder=Path(__file__).parent,
    out_dir="data",
    add_options=_add_options,
    prepare=_prepare,
)
"""A data set of the user's own: a folder of speakers, a Kaldi directory or ppvector's lists."""
