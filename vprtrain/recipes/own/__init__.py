"""Data of one's own: a folder of speakers, a Kaldi directory, or a list of ppvector's."""

from vprtrain.recipes.own.recipe import OWN

__all__ = ["OWN"]
