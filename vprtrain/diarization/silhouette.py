"""How well clusters are apart."""

from __future__ import annotations

import numpy as np


def silhouette(units: np.ndarray, labels: np.ndarray) -> float:
    """The mean silhouette of the windows, from -1 to 1; 0 for one cluster.

    A window's silhouette is ``(b - a) / max(a, b)``, with its mean cosine distance ``a`` to the
    others of its cluster and ``b`` to the nearest other cluster; alone in its cluster it has 0
    (Rousseeuw, "Silhouettes: a graphical aid to the interpretation and validation of cluster
    analysis", Journal of Computational and Applied Mathematics 20, 1987). Cosines are around the
    mean of the recording. Cosines add up, so that sums of clusters take the place of all pairs.

    Args:
        units: ``[windows, dimension]``.
        labels: ``[windows]``, from 0; every cluster has a window.
    """
    if labels.max() == 0:
        return 0.0
    around = units - units.mean(axis=0)
    around /= np.maximum(np.linalg.norm(around, axis=1, keepdims=True), np.finfo(around.dtype).tiny)
    counts, rows = np.bincount(labels), np.arange(len(labels))
    sums = np.zeros((len(counts), units.shape[1]))
    np.add.at(sums, labels, around)
    cosines = around @ sums.T
    others = np.maximum(counts[labels] - 1, 1)
    own = 1 - (cosines[rows, labels] - 1) / others
    distances = 1 - cosines / counts
    distances[rows, labels] = np.inf
    nearest = distances.min(axis=1)
    apart = (nearest - own) / np.maximum(np.maximum(own, nearest), np.finfo(float).tiny)
    return float(np.where(counts[labels] > 1, apart, 0).mean())
