"""Agglomerative clustering by average linkage of cosines, cut at a threshold.

Some windows are always unlike all others: two voices at once, a cough, a laugh. Cut into few
clusters, a tree keeps them apart and joins speakers instead. So a cut is judged by its clusters of
at least ``least`` windows, the speakers.
"""

from __future__ import annotations

import numpy as np

from vprtrain.diarization.grouping import average_linkage


def agglomerative_labels(
    units: np.ndarray,
    sizes: np.ndarray,
    *,
    threshold: float,
    least: int,
    num_clusters: int | None,
    max_clusters: int,
) -> np.ndarray:
    """The cluster of each vector, int64 ``[vectors]``, from 0; some may have less than ``least``
    windows.

    Args:
        units: ``[vectors, dimension]``, of length 1, at least two.
        sizes: the number of windows that each vector is the mean of.
        threshold: clusters are joined while the mean cosine between them is at least this.
        least: the windows that a speaker has.
        num_clusters: the number of speakers, ``None`` to find it by the threshold.
        max_clusters: the most speakers that may be found.
    """
    tree = average_linkage(units)
    cuts = _speakers_of_cuts(tree, sizes, least)
    if num_clusters is None:
        wanted = int(np.searchsorted(tree[:, 2], 1 - threshold, side="right"))  # joins to make
        allowed = np.flatnonzero(cuts[wanted:] <= max_clusters)
        joins = wanted + int(allowed[0])
    else:
        joins = len(cuts) - 1 - int(np.argmax(np.minimum(cuts, num_clusters)[::-1]))
        joins = max(0, min(joins, len(units) - num_clusters))
    return _cut(tree, joins)


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
