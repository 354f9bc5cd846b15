"""``vprtrain fit``."""

from __future__ import annotations

import os

from vprtrain import runtime
from vprtrain.commands.config import CommandParser
from vprtrain.commands.own_modules import add_import, import_modules, split_import
from vprtrain.commands.recipe_options import add_recipe, split_recipe, with_config_files
from vprtrain.commands.validate import validate
from vprtrain.errors import UsageError

_COMMON = (
    *("config", "print_config", "recipe", "import", "save_dir", "device", "seed", "report"),
    *("resume", "init_from", "accept_changes", "model", "feature", "loss", "optimizer"),
    *("data.train_manifest", "data.eval_manifest", "data.trials", "data.batch_size"),
    *("data.crop_seconds", "data.workers", "engine.max_epochs", "engine.max_steps"),
    *("engine.validate_every", "engine.log_every", "engine.fast_dev_run"),
)


def fit(parser: CommandParser, arguments: list[str]) -> int:
    """Train a model; the same command resumes a run that was stopped.

    Every option may also be given in a YAML file (--config). Later options override earlier ones.
    --config NAME is a configuration of the recipe, campplus by default; --print_config prints the
    whole configuration and ends. --model.help NAME explains the arguments of a class; so do
    --feature.help, --loss.help, --optimizer.help, --callbacks.help and --data.augmentations.help.
    """
    recipe, others = split_recipe(arguments)
    modules, others = split_import(others)
    others = with_config_files(others, recipe)
    runtime.prepare()
    runtime.keep_freed_memory()
    imports = import_modules(modules)

    from vprtrain.commands import training
    from vprtrain.ranks import connect_ranks

    add_recipe(parser, "the data set whose configurations --config finds by name")
    add_import(parser)
    parser.add_argument(
        "--report",
        action="store_true",
        help="at the end, validate the best model and write the report of vprtrain validate",
    )
    training.add_options(parser)
    parser.common = _COMMON
    config = parser.parse_args(others)
    manifest = config.data.train_manifest
    if not os.path.exists(manifest):
        made_for = "" if recipe is None else f" --recipe {recipe.name}"
        raise UsageError(
            f"{manifest}: no such file; expected a training manifest: make it with vprtrain "
            f"prepare{made_for} (--help), or give another --data.train_manifest"
        )
    if config.report and config.data.trials is None:
        raise UsageError("--report needs trials to validate on: give --data.trials")
    with connect_ranks(cpu=config.device == "cpu").reporting():
        result = training.train(training.build(parser, config, imports), config)
    status = training.exit_status(result)
    if status or not config.report or config.engine.fast_dev_run:
        return status
    checkpoint = f"--checkpoint={training.run_directory(config)}"
    return validate(CommandParser(prog="validate"), [checkpoint, f"--device={config.device}"])
