"""The recipe ``cnceleb``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from jsonargparse import ArgumentParser, Namespace

from vprtrain.recipes.recipe import Recipe

if TYPE_CHECKING:
    from vprtrain.data.preparation import Preparation


def _add_options(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--cnceleb1", type=str | None, default=None, help="CN-Celeb_flac, or the folder it is in"
    )
    parser.add_argument(
        "--cnceleb2", type=str | None, default=None, help="CN-Celeb2_flac, for training speakers"
    )
    parser.add_argument(
        "--join_seconds",
        type=float | None,
        default=None,
        help="join consecutive utterances of one speaker and genre to at least this length; "
        "WeSpeaker uses 5",
    )


def _prepare(preparation: Preparation, options: Namespace) -> None:
    from vprtrain.recipes.cnceleb.prepare import prepare

    prepare(preparation, options.cnceleb1, options.cnceleb2, join_seconds=options.join_seconds)


def _demo(preparation: Preparation, folder: Path, processes: int) -> None:
    from vprtrain.recipes.cnceleb.corpus import make_corpus
    from vprtrain.recipes.cnceleb.prepare import prepare

    prepare(preparation, make_corpus(folder, processes=processes))


CNCELEB = Recipe(
    name="cnceleb",
    title="CN-Celeb",
    folder=Path(__file__).parent,
    out_dir="data/cnceleb",
    add_options=_add_options,
    prepare=_prepare,
    demo=_demo,
)
"""CN-Celeb1 and CN-Celeb2."""
