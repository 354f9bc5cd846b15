"""Data sets with everything that training on them takes: preparation and configurations."""

from vprtrain.recipes.cnceleb.recipe import CNCELEB
from vprtrain.recipes.own.recipe import OWN
from vprtrain.recipes.recipe import Recipe
from vprtrain.recipes.voxceleb.recipe import VOXCELEB

RECIPES: dict[str, Recipe] = {recipe.name: recipe for recipe in (CNCELEB, VOXCELEB, OWN)}
"""Every recipe by the name that ``--recipe`` takes."""

__all__ = ["CNCELEB", "OWN", "RECIPES", "VOXCELEB", "Recipe"]
