"""VoxCeleb from a checkout: ``vprtrain COMMAND --recipe voxceleb`` as a script."""

from vprtrain.commands.program import run
from vprtrain.commands.recipe_program import recipe_program
from vprtrain.recipes import VOXCELEB

main = recipe_program(VOXCELEB)

if __name__ == "__main__":
    run(main)
