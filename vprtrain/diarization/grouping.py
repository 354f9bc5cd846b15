"""Fewer vectors than a long recording has windows."""

from __future__ import annotations

import numpy as np
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.spatial.distance import squareform

_CHUNK = 1000


def grouped(units: np.ndarray, most: int) -> np.ndarray:
    """The group of each window, int64 ``[windows]``, from 0; each its own up to ``most`` windows.

    More windows are joined with the nearest of the 1,000 that they are among in the recording, to
    about ``most`` groups.

    Args:
        units: ``[windows, dimension]``, of length 1.
    """
    if len(units) <= most:
        return np.arange(len(units))
    groups, count = np.zeros(len(units), np.int64), 0
    for chunk in np.array_split(np.arange(len(units)), -(-len(units) // _CHUNK)):
        wanted = max(1, round(most * len(chunk) / len(units)))
        groups[chunk] = count + fcluster(average_linkage(units[chunk]), wanted, "maxclust") - 1
        count = int(groups.max()) + 1
    return groups


def average_linkage(units: np.ndarray) -> np.ndarray:
    """SciPy's tree of the vectors ``[vectors, dimension]``, of length 1, at least two: the distance
    of two clusters is one minus the mean cosine between them."""
    distances = (1 - units @ units.T).clip(0)
    distances = (distances + distances.T) / 2
    np.fill_diagonal(distances, 0)
    tree: np.ndarray = linkage(squareform(distances, checks=False), "average")
    return tree
