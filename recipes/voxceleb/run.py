"""VoxCeleb: speaker verification from the archives to a validated model.

``python recipes/voxceleb/run.py --help`` lists the commands.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from vprtrain import runtime
from vprtrain.commands import training
from vprtrain.commands.config import CommandParser
from vprtrain.commands.export import export
from vprtrain.commands.prepare import add_options, carry_out
from vprtrain.commands.program import choose, run

if TYPE_CHECKING:
    from vprtrain.data.preparation import Preparation

FOLDER = Path(__file__).parent


def prepare(parser: CommandParser, arguments: list[str]) -> int:
    """Make the manifests that fit and validate read from the unpacked archives."""
    parser.add_argument(
        "--vox1", type=str | None, default=None, help="the folder of VoxCeleb1's dev/wav, test/wav"
    )
    parser.add_argument(
        "--vox2", type=str | None, default=None, help="the folder with VoxCeleb2's dev/aac"
    )
    parser.add_argument(
        "--lists",
        type=str | None,
        default=None,
        help="the folder of veri_test2.txt, list_test_all2.txt, list_test_hard2.txt; by default that of VoxCeleb1",
    )
    parser.add_argument(
        "--train",
        type=Literal["vox2", "vox1", "vox1+2"],
        default="vox2",
        help="the dev parts to train on; with VoxCeleb1 among them, results on Vox1-E and Vox1-H are invalid",
    )
    parser.add_argument(
        "--convert",
        action="store_true",
        help="rewrite VoxCeleb2 once as FLAC at 16 kHz in out_dir/vox2_flac",
    )
    add_options(parser, out_dir="data/voxceleb")
    options = parser.parse_args(arguments)

    def find(preparation: Preparation) -> None:
        from prepare import prepare as prepare_files

        prepare_files(
            preparation,
            options.vox1,
            options.vox2,
            lists=options.lists,
            train=options.train,
            convert=options.convert,
        )

    return carry_out(options, find)


def fit(parser: CommandParser, arguments: list[str]) -> int:
    """Train. Run again, the same command goes on from last_model.

    Without --config, recipes/voxceleb/campplus.yaml is used.
    """
    return training.fit(parser, arguments, default_config=FOLDER / "campplus.yaml")


def main(arguments: list[str]) -> int | None:
    runtime.prepare()
    runtime.log_to_stderr()
    return choose(
        prepare, fit, training.validate, export, description="Speaker verification on VoxCeleb."
    )(arguments)


if __name__ == "__main__":
    run(main)
