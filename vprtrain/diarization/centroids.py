"""The centre of each cluster of embeddings."""

from __future__ import annotations

import numpy as np


def centroids(units: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The mean of each cluster's embeddings, scaled to length 1: ``[clusters, dimension]``.

    Args:
        units: ``[windows, dimension]``, of length 1.
        labels: ``[windows]``, from 0; every cluster has a window.
    """
    sums = np.zeros((labels.max() + 1, units.shape[1]))
    np.add.at(sums, labels, units)
    found: np.ndarray = sums / np.linalg.norm(sums, axis=1, keepdims=True)
    return found
