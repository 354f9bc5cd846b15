"""CN-Celeb1 and CN-Celeb2, and a synthetic corpus with the same layout for the quick start."""

from vprtrain.recipes.cnceleb.recipe import CNCELEB

__all__ = ["CNCELEB"]
