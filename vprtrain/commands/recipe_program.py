"""The commands of one recipe: the program of ``recipes/<name>/run.py`` in a checkout."""

from __future__ import annotations

from vprtrain import runtime
from vprtrain.commands.demo import demo
from vprtrain.commands.export import export
from vprtrain.commands.fit import fit
from vprtrain.commands.prepare import prepare
from vprtrain.commands.program import Main, choose
from vprtrain.commands.recipe_options import bind_recipe
from vprtrain.commands.validate import validate
from vprtrain.recipes import Recipe


def recipe_program(recipe: Recipe) -> Main:
    """A main function with the same commands as ``vprtrain``, without ``--recipe``."""
    bound = (demo, prepare, fit) if recipe.demo else (prepare, fit)
    commands = choose(
        *(bind_recipe(command, recipe) for command in bound),
        validate,
        export,
        description=f"Speaker verification on {recipe.title}.",
    )

    def main(arguments: list[str]) -> int | None:
        runtime.log_to_stderr()
        return commands(arguments)

    return main
