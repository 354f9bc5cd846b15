"""CN-Celeb: speaker verification from the archives, or from a synthetic corpus, to a validated
model.

``python recipes/cnceleb/run.py --help`` lists the commands.
"""

from __future__ import annotations

import logging
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from vprtrain import runtime
from vprtrain.commands import training
from vprtrain.commands.config import CommandParser
from vprtrain.commands.export import export
from vprtrain.commands.prepare import add_options, carry_out
from vprtrain.commands.program import choose, run
from vprtrain.ranks.launched_ranks import require_one_process

if TYPE_CHECKING:
    from vprtrain.data.preparation import Preparation

FOLDER = Path(__file__).parent

log = logging.getLogger("vprtrain.recipes.cnceleb")


def demo(parser: CommandParser, arguments: list[str]) -> int:
    """Quick start: make a corpus of synthetic voices, prepare, train and validate on it."""
    parser.add_argument(
        "--folder", default="demo", help="where the corpus and the run go; used again next time"
    )
    parser.add_argument("--processes", type=int, default=2, help="processes that synthesise")
    options = parser.parse_args(arguments)
    require_one_process("demo")
    folder = Path(options.folder)

    from demo import make_corpus

    print(
        "The voices are synthetic: they show that everything works, not what a model reaches on real speech."
    )
    root = make_corpus(folder / "corpus", processes=options.processes)
    prepare(CommandParser(), [f"--cnceleb1={root}", f"--out_dir={folder / 'manifests'}"])

    from vprtrain.commands import recipe

    fit_parser = CommandParser(prog="fit")
    recipe.add_fit_options(fit_parser)
    config = fit_parser.parse_args(_demo_arguments(folder))
    run = recipe.build(fit_parser, config)
    log.info("validating the untrained network")
    before = run.engine.validate(run.module, run.data)
    result = recipe.fit(run, config)
    status = recipe.exit_status(result)
    if status == 0:
        print(
            "\nEER on 20 synthetic speakers the network has not heard: "
            f"{before['eer']:.2%} before training, {result.metrics['eer']:.2%} after"
        )
        _say_what_next(folder, recipe.run_directory(config))
    return status


def prepare(parser: CommandParser, arguments: list[str]) -> int:
    """Make the manifests that fit and validate read from the unpacked archives; either archive
    alone will do."""
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
        help="join consecutive utterances of one speaker and genre to this length; 5 in WeSpeaker",
    )
    add_options(parser, out_dir="data/cnceleb")
    options = parser.parse_args(arguments)

    def find(preparation: Preparation) -> None:
        from prepare import prepare as prepare_files

        prepare_files(
            preparation, options.cnceleb1, options.cnceleb2, join_seconds=options.join_seconds
        )

    return carry_out(options, find)


def fit(parser: CommandParser, arguments: list[str]) -> int:
    """Train. Run again, the same command goes on from last_model.

    Without --config, recipes/cnceleb/campplus.yaml is used.
    """
    return training.fit(parser, arguments, default_config=FOLDER / "campplus.yaml")


def _demo_arguments(folder: Path) -> list[str]:
    manifests = folder / "manifests"
    return [
        f"--config={FOLDER / 'demo.yaml'}",
        f"--save_dir={folder / 'models'}",
        f"--data.train_manifest={manifests / 'train.tsv'}",
        f"--data.eval_manifest={manifests / 'eval.tsv'}",
        f"--data.trials={manifests / 'trials.txt'}",
        f"--data.enroll={manifests / 'enroll.map'}",
    ]


def _say_what_next(folder: Path, run_dir: Path) -> None:
    program = f"python {sys.argv[0]}"
    longer = ["--engine.max_epochs=30", f"--save_dir={folder / 'longer'}"]
    print(
        f"The model: {run_dir / 'best_model'}\n"
        "Next, try:\n"
        f"  {program} validate --checkpoint {run_dir}\n"
        f"  {program} fit {shlex.join([*_demo_arguments(folder), *longer])}\n"
        f"  {program} prepare --cnceleb1 /path/to/CN-Celeb_flac"
    )


def main(arguments: list[str]) -> int | None:
    runtime.prepare()
    runtime.log_to_stderr()
    return choose(
        demo,
        prepare,
        fit,
        training.validate,
        export,
        description="Speaker verification on CN-Celeb.",
    )(arguments)


if __name__ == "__main__":
    run(main)
