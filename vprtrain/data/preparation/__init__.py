"""Preparing data sets: from the unpacked archives to the text files that training and
evaluation read.

A recipe finds the recordings of its data set; :class:`Preparation` carries out the steps that all
data sets share.
"""

from vprtrain.data.preparation.preparation import Preparation
from vprtrain.data.preparation.summary import Summary

__all__ = ["Preparation", "Summary"]
