"""VoxCeleb1 and VoxCeleb2."""

from vprtrain.recipes.voxceleb.recipe import VOXCELEB

__all__ = ["VOXCELEB"]
