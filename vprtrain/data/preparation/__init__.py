"""From the folders that data sets come in to the text files that training and evaluation read.

A recipe finds what its data set holds and where; :class:`Preparation` does with it what is the same
for all.
"""

from vprtrain.data.preparation.preparation import Preparation
from vprtrain.data.preparation.summary import Summary

__all__ = ["Preparation", "Summary"]
