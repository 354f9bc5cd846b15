"""``vprtrain demo``."""

from __future__ import annotations

import logging
import shlex
from pathlib import Path

from vprtrain import runtime
from vprtrain.commands.config import CommandParser
from vprtrain.commands.printing import print_lines
from vprtrain.commands.recipe_options import add_recipe, split_recipe
from vprtrain.errors import UsageError
from vprtrain.ranks.launched_ranks import require_one_process
from vprtrain.recipes import RECIPES, Recipe

log = logging.getLogger(__name__)

_CONFIG = "demo"


def demo(parser: CommandParser, arguments: list[str]) -> int:
    """Quick start: make a corpus of synthetic voices, prepare, train and validate on it.

    The voices show that everything works, not what a model reaches on real speech.
    """
    recipe, others = split_recipe(arguments, default="cnceleb")
    add_recipe(parser, "the data set that the corpus imitates; default: cnceleb")
    parser.add_argument(
        "--folder", default="demo", help="holds the corpus and the run; a second demo reuses them"
    )
    parser.add_argument(
        "--processes", type=int, default=2, help="number of processes that synthesise voices"
    )
    options = parser.parse_args(others)
    if recipe is None or recipe.demo is None:
        known = ", ".join(name for name, each in RECIPES.items() if each.demo)
        raise UsageError(f"this recipe has no demo: give --recipe {known}")
    require_one_process("demo")
    runtime.prepare()
    folder = Path(options.folder)
    print_lines(
        "The voices are synthetic: they show that everything works, "
        "not what a model reaches on real speech."
    )
    _make_manifests(recipe, folder, options.processes)
    return _train(recipe, folder)


def _make_manifests(recipe: Recipe, folder: Path, processes: int) -> None:
    from vprtrain.data.preparation import Preparation

    assert recipe.demo is not None
    preparation = Preparation(out_dir=folder / "manifests")
    recipe.demo(preparation, folder / "corpus", processes)
    print_lines(*preparation.finish().lines)


def _train(recipe: Recipe, folder: Path) -> int:
    """Validate, train and validate again; the exit status."""
    from vprtrain.commands import training

    parser = CommandParser(prog="fit")
    training.add_options(parser)
    config_file = recipe.config_file(_CONFIG)
    config = parser.parse_args([f"--config={config_file}", *_fit_arguments(folder, "models")])
    made = training.build(parser, config)
    log.info("validating the untrained network")
    before = made.engine.validate(made.module, made.data)
    result = training.train(made, config)
    status = training.exit_status(result)
    if status == 0:
        print_lines(
            "",
            "EER on synthetic speakers that the network has not heard: "
            f"{before['eer']:.2%} before training, {result.metrics['eer']:.2%} after",
        )
        _print_next_steps(recipe, folder, training.run_directory(config))
    return status


def _fit_arguments(folder: Path, save_dir: str) -> list[str]:
    manifests = folder / "manifests"
    return [
        f"--save_dir={folder / save_dir}",
        f"--data.train_manifest={manifests / 'train.tsv'}",
        f"--data.eval_manifest={manifests / 'eval.tsv'}",
        f"--data.trials={manifests / 'trials.txt'}",
        f"--data.enroll={manifests / 'enroll.map'}",
        "--data.synthetic=true",
    ]


def _print_next_steps(recipe: Recipe, folder: Path, run_dir: Path) -> None:
    fit = shlex.join([*_fit_arguments(folder, "longer"), "--engine.max_epochs=30"])
    model = shlex.quote(str(run_dir))
    train, talks, found = (
        shlex.quote(str(folder / name)) for name in ("manifests/train.tsv", "talks", "found")
    )
    print_lines(
        f"The model: {run_dir / 'best_model'}",
        "Next, try a conversation of three voices, who speaks when in it, and the errors:",
        f"  vprtrain simulate {train} --out {talks} --conversations 1 --seconds 60 --speakers 3",
        f"  vprtrain diarize {talks} --checkpoint {model} --vad energy --num_speakers 3 "
        f"--out {found}",
        f"  vprtrain score --rttm {talks} {found} --collar 0.25",
        "Or:",
        f"  vprtrain validate --checkpoint {model}",
        f"  vprtrain fit --recipe {recipe.name} --config {_CONFIG} {fit}",
        f"  vprtrain prepare --recipe {recipe.name} --help",
    )
