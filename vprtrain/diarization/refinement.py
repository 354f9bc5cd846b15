"""From clusters of windows to speakers: what is split, joined, or too small."""

from __future__ import annotations

import numpy as np
from sklearn.cluster import KMeans

from vprtrain.diarization.centroids import centroids


def halved(units: np.ndarray, labels: np.ndarray, *, cosine: float, least: int) -> np.ndarray:
    """The same labels, but a cluster whose halves, found by k-means, have means with a lower cosine
    than ``cosine`` is two clusters, and each of them is looked at again; from 0.

    Args:
        units: ``[windows, dimension]``, of length 1.
        labels: ``[windows]``, from 0.
        least: the windows that each half must have.
    """
    found, waiting = np.array(labels), list(range(labels.max() + 1))
    while waiting:
        cluster = waiting.pop()
        own = np.flatnonzero(found == cluster)
        if len(own) < 2 * least:
            continue
        if (units[own] == units[own[0]]).all():
            continue
        halves = KMeans(n_clusters=2, n_init=5, random_state=0).fit_predict(units[own])
        first, second = centroids(units[own], halves)
        if np.bincount(halves).min() >= least and first @ second < cosine:
            added = int(found.max()) + 1
            found[own[halves == 1]] = added
            waiting += [cluster, added]
    return found


def joined(units: np.ndarray, labels: np.ndarray, *, cosine: float, most: int) -> np.ndarray:
    """The same labels, but the clusters with the highest cosine of their means are joined, pair by
    pair, while it is ``cosine`` or above, or there are more than ``most``; from 0.

    Args:
        units: ``[windows, dimension]``, of length 1.
        labels: ``[windows]``, from 0.
    """
    while (count := labels.max() + 1) > 1:
        means = centroids(units, labels)
        cosines = np.triu(means @ means.T, 1) - 2 * np.tri(count)
        first, second = np.unravel_index(cosines.argmax(), cosines.shape)
        if count <= most and cosines[first, second] < cosine:
            break
        labels = np.unique(np.where(labels == second, first, labels), return_inverse=True)[1]
    return labels


def without_small(units: np.ndarray, labels: np.ndarray, *, least: int, keep: int) -> np.ndarray:
    """The same labels, but windows of small clusters have the nearest large one; from 0.

    Args:
        units: ``[windows, dimension]``, of length 1.
        labels: ``[windows]``, from 0.
        least: the windows of a large cluster.
        keep: the number of clusters that are large at least: the largest ones.
    """
    counts = np.bincount(labels)
    order = np.argsort(-counts, kind="stable")
    large = order[: max(min(keep, np.count_nonzero(counts)), np.count_nonzero(counts >= least))]
    places = np.full(len(counts), -1)
    places[large] = np.arange(len(large))
    kept = places[labels]
    means = centroids(units[kept >= 0], kept[kept >= 0])
    return np.where(kept >= 0, kept, (units @ means.T).argmax(axis=1))
