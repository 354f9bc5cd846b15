"""``vprtrain fit``."""

from __future__ import annotations

from vprtrain import runtime
from vprtrain.commands.config import CommandParser
from vprtrain.commands.own_modules import add_import, import_modules, split_import
from vprtrain.commands.recipe_options import add_recipe, split_recipe, with_config_files


def fit(parser: CommandParser, arguments: list[str]) -> int:
    """Train a model; the same command resumes a run that was stopped.

    Every option may also be given in a YAML file (--config). Later options override earlier ones.
    --config NAME is a configuration of the recipe, campplus by default; --print_config prints the
    whole configuration and ends.
    """
    recipe, others = split_recipe(arguments)
    modules, others = split_import(others)
    others = with_config_files(others, recipe)
    runtime.prepare()
    imports = import_modules(modules)

    from vprtrain.commands import training
    from vprtrain.ranks import connect_ranks

    add_recipe(parser, "the data set whose configurations --config finds by name")
    add_import(parser)
    training.add_options(parser)
    config = parser.parse_args(others)
    with connect_ranks(cpu=config.device == "cpu").reporting():
        return training.exit_status(training.train(training.build(parser, config, imports), config))
