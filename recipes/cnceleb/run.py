"""CN-Celeb from a checkout: ``vprtrain COMMAND --recipe cnceleb`` as a script."""

from vprtrain.commands.program import run
from vprtrain.commands.recipe_program import recipe_program
from vprtrain.recipes import CNCELEB

main = recipe_program(CNCELEB)

if __name__ == "__main__":
    run(main)
