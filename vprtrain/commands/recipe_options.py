"""The option ``--recipe``, and ``--config NAME`` for a recipe's own configuration."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from functools import wraps
from pathlib import Path

from vprtrain.commands.config import CommandParser
from vprtrain.commands.option_names import closest
from vprtrain.commands.program import Command
from vprtrain.errors import UsageError
from vprtrain.recipes import RECIPES, Recipe

CONFIG = "--config"


def add_recipe(parser: CommandParser, help: str) -> None:
    """Let ``--help`` list ``--recipe``, which :func:`split_recipe` has taken from the arguments."""
    parser.add_argument("--recipe", metavar="|".join(RECIPES), default=argparse.SUPPRESS, help=help)


def split_recipe(
    arguments: Sequence[str], default: str | None = None
) -> tuple[Recipe | None, list[str]]:
    """The recipe that ``--recipe`` or the default names, and the other arguments.

    The recipe must be known before the other options are declared, so it has a parser of its own.

    Raises:
        UsageError: there is no recipe of that name, or the name is missing.
    """
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    parser.add_argument("--recipe", default=default)
    try:
        found, others = parser.parse_known_args(arguments)
    except argparse.ArgumentError as error:
        raise UsageError(f"--recipe needs a name: {', '.join(RECIPES)}") from error
    if found.recipe is None:
        return None, others
    if found.recipe not in RECIPES:
        nearest = closest(found.recipe, RECIPES)
        hint = f"the closest is '{nearest}'" if nearest else f"known are {', '.join(RECIPES)}"
        raise UsageError(f"unknown recipe '{found.recipe}': {hint}")
    return RECIPES[found.recipe], others


def with_config_files(arguments: Sequence[str], recipe: Recipe | None) -> list[str]:
    """The arguments with a path after every ``--config``.

    A bare name means the recipe's own configuration. Without any ``--config``, the recipe's default
    configuration comes first.

    Raises:
        UsageError: there is neither a recipe nor a configuration, or the name is not known.
    """
    given = {argument.partition("=")[0] for argument in arguments}
    wants_help = any(option in ("--help", "-h") or option.endswith(".help") for option in given)
    if CONFIG not in given and not wants_help:
        if recipe is None:
            raise UsageError(
                f"nothing says what to train: give --recipe {'|'.join(RECIPES)}, or --config FILE"
            )
        return [f"{CONFIG}={recipe.config_file(recipe.default_config)}", *arguments]
    return list(_resolved(arguments, recipe))


def _resolved(arguments: Sequence[str], recipe: Recipe | None) -> Iterator[str]:
    after_config = False
    for argument in arguments:
        option, equals, value = argument.partition("=")
        if after_config:
            yield _config_file(argument, recipe)
        elif option == CONFIG and equals:
            yield f"{CONFIG}={_config_file(value, recipe)}"
        else:
            yield argument
        after_config = argument == CONFIG


def _config_file(value: str, recipe: Recipe | None) -> str:
    """The file that a value of ``--config`` means."""
    names = [] if recipe is None else recipe.config_names()
    if recipe is not None and value in names:
        return str(recipe.config_file(value))
    if Path(value).exists():
        return value
    if recipe is None:
        owners = [each.name for each in RECIPES.values() if value in each.config_names()]
        if owners:
            raise UsageError(
                f"--config {value} is a configuration of a recipe: add --recipe {'|'.join(owners)}"
            )
        return value
    if Path(value).stem in names:
        raise UsageError(
            f"{value} does not exist: recipe {recipe.name} has its own configuration of this name, "
            f"--config {Path(value).stem}"
        )
    return value if Path(value).suffix else str(recipe.config_file(value))


def bind_recipe(command: Command, recipe: Recipe) -> Command:
    """The command with ``--recipe`` given already."""

    @wraps(command)
    def bound(parser: CommandParser, arguments: list[str]) -> int | None:
        return command(parser, [f"--recipe={recipe.name}", *arguments])

    return bound
