"""Agglomerative clustering by average linkage of cosines, cut at a threshold.

Some windows are always unlike all others: two voices at once, a cough, a laugh. Cut into few
clusters, a tree keeps them apart and joins speakers instead. So a cut is judged by its clusters of
at least ``least`` windows, the speakers.
"""

from __future__ import annotations

import numpy as np
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.spatial.distance import squareform

from vprtrain.diarization.centroids import centroids

_MOST_LEAVES = 2000
"""Of a tree, whose matrix of distances then takes 16 MB"""
_CHUNK = 1000


def agglomerative_labels(
    units: np.ndarray,
    *,
    threshold: float,
    least: int,
    num_clusters: int | None,
    max_clusters: int,
) -> np.ndarray:
    """The cluster of each window, int64 ``[windows]``, from 0; some may have less than ``least``.

    More than 2,000 windows are first joined with their nearest among 1,000 that follow each other
    in the recording, to about 2,000 groups, whose means are then clustered.

    Args:
        units: ``[windows, dimension]``, of length 1, at least two.
        threshold: clusters are joined while the mean cosine between them is at least this.
        least: the windows that a speaker has.
        num_clusters: the number of speakers, ``None`` to find it by the threshold.
        max_clusters: the most speakers that may be found.
    """
    groups = _groups(units)
    means = centroids(units, groups)
    sizes = np.bincount(groups)
    tree = _tree(means)
    cuts = _speakers_of_cuts(tree, sizes, least)
    if num_clusters is None:
        wanted = int(np.searchsorted(tree[:, 2], 1 - threshold, side="right"))  # joins to make
        allowed = np.flatnonzero(cuts[wanted:] <= max_clusters)
        joins = wanted + int(allowed[0])
    else:
        joins = len(cuts) - 1 - int(np.argmax(np.minimum(cuts, num_clusters)[::-1]))
        joins = max(0, min(joins, len(means) - num_clusters))
    labels: np.ndarray = _cut(tree, joins)[groups]
    return labels


def _tree(means: np.ndarray) -> np.ndarray:
    distances = (1 - means @ means.T).clip(0)
    np.fill_diagonal(distances, 0)
    tree: np.ndarray = linkage(squareform(distances, checks=False), "average")
    return tree


def _groups(units: np.ndarray) -> np.ndarray:
    """The group of each window; its own, if there are few windows."""
    if len(units) <= _MOST_LEAVES:
        return np.arange(len(units))
    share = _MOST_LEAVES / len(units)
    groups, count = np.empty(len(units), np.int64), 0
    for start in range(0, len(units), _CHUNK):
        chunk = units[start : start + _CHUNK]
        if len(chunk) == 1:
            found = np.zeros(1, np.int64)
        else:
            found = fcluster(_tree(chunk), max(1, round(share * len(chunk))), "maxclust") - 1
        groups[start : start + _CHUNK] = count + found
        count += int(found.max()) + 1
    return groups


def _speakers_of_cuts(tree: np.ndarray, sizes: np.ndarray, least: int) -> np.ndarray:
    """The number of clusters of at least ``least`` windows after 0, 1, ... all joins of a tree."""
    counts = np.concatenate([sizes, np.zeros(len(tree), np.int64)])
    large = int(np.count_nonzero(sizes >= least))
    found = [large]
    for join, (left, right) in enumerate(tree[:, :2].astype(int), len(sizes)):
        counts[join] = counts[left] + counts[right]
        large += int(counts[join] >= least)
        large -= int(counts[left] >= least) + int(counts[right] >= least)
        found.append(large)
    return np.array(found)


def _cut(tree: np.ndarray, joins: int) -> np.ndarray:
    """The cluster of each leaf after so many joins of a tree, from 0."""
    leaves = len(tree) + 1
    parent = np.arange(leaves + joins)
    for join in range(joins - 1, -1, -1):
        parent[tree[join, :2].astype(int)] = parent[leaves + join]
    labels: np.ndarray = np.unique(parent[:leaves], return_inverse=True)[1]
    return labels
