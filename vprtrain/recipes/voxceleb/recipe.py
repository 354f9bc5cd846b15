"""The recipe ``voxceleb``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from jsonargparse import ArgumentParser, Namespace

from vprtrain.recipes.recipe import Recipe

if TYPE_CHECKING:
    from vprtrain.data.preparation import Preparation

TrainingSet = Literal["vox2", "vox1", "vox1+2"]


def _add_options(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--vox1",
        type=str | None,
        default=None,
        help="the folder that holds dev/wav and test/wav of VoxCeleb1",
    )
    parser.add_argument(
        "--vox2",
        type=str | None,
        default=None,
        help="the folder that holds dev/aac of VoxCeleb2",
    )
    parser.add_argument(
        "--lists",
        type=str | None,
        default=None,
        help="the folder of veri_test2.txt, list_test_all2.txt and list_test_hard2.txt; "
        "default: the folder of VoxCeleb1",
    )
    parser.add_argument(
        "--train",
        type=TrainingSet,
        default="vox2",
        help="the dev parts to train on; training on VoxCeleb1 makes results on Vox1-E and Vox1-H "
        "invalid",
    )
    parser.add_argument(
        "--convert",
        action="store_true",
        help="rewrite VoxCeleb2 once as FLAC at 16 kHz in out_dir/vox2_flac",
    )


def _prepare(preparation: Preparation, options: Namespace) -> None:
    from vprtrain.recipes.voxceleb.prepare import prepare

    prepare(
        preparation,
        options.vox1,
        options.vox2,
        lists=options.lists,
        train=options.train,
        convert=options.convert,
    )


VOXCELEB = Recipe(
    name="voxceleb",
    title="VoxCeleb",
    folder=Path(__file__).parent,
    out_dir="data/voxceleb",
    add_options=_add_options,
    prepare=_prepare,
)
"""VoxCeleb1 and VoxCeleb2."""
