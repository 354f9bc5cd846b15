"""Spectral clustering with an automatic number of clusters.

The affinity of two windows is their cosine; each window keeps that with its nearest neighbours
only. The eigenvectors of the graph's Laplacian with the smallest eigenvalues are clustered by
k-means, and the largest gap between two neighbouring eigenvalues tells how many they are (Park et
al., "Auto-tuning spectral clustering for speaker diarization using normalized maximum eigengap",
IEEE SPL 2020).
"""

from __future__ import annotations

import numpy as np
from scipy.linalg import eigh
from scipy.sparse import csr_matrix, diags_array
from scipy.sparse.linalg import eigsh
from sklearn.cluster import KMeans

_ROWS_AT_ONCE = 1024
_DENSE = 1000
"""Up to this number of windows all eigenvalues are computed at once, which is the fastest way."""
_RESTARTS = 10


def pruned_affinity(units: np.ndarray, neighbours: int) -> csr_matrix:
    """The symmetric affinity matrix, float64 ``[windows, windows]``, without the diagonal.

    Each row keeps its ``neighbours`` largest positive cosines; the mean with the transposed matrix
    makes it symmetric. Memory is that of the neighbours, not of all pairs.

    Args:
        units: float32 ``[windows, dimension]``, of length 1.
    """
    count = len(units)
    kept = min(neighbours, count - 1)
    columns = np.empty((count, kept), np.int32)
    values = np.empty((count, kept), np.float32)
    for start in range(0, count, _ROWS_AT_ONCE):
        rows = np.arange(start, min(start + _ROWS_AT_ONCE, count))
        cosines = units[rows] @ units.T
        cosines[rows - start, rows] = -np.inf
        nearest = np.argpartition(cosines, count - kept, axis=1)[:, count - kept :]
        columns[rows] = nearest
        values[rows] = np.take_along_axis(cosines, nearest, axis=1)
    places = np.arange(count + 1, dtype=np.int64) * kept
    pruned = csr_matrix(
        (values.ravel().clip(0).astype(np.float64), columns.ravel(), places), shape=(count, count)
    )
    return (pruned + pruned.T) / 2


def smallest_eigenvectors(affinity: csr_matrix, most: int) -> tuple[np.ndarray, np.ndarray]:
    """The smallest eigenvalues of the Laplacian of a graph, ascending, and their eigenvectors.

    Returns:
        float64 ``[found]`` and ``[windows, found]``, with ``found`` up to ``most``.
    """
    count = affinity.shape[0]
    degrees = np.asarray(affinity.sum(axis=1)).ravel()
    if count <= max(_DENSE, 2 * most):
        laplacian = np.diag(degrees) - affinity.toarray()
        values, vectors = eigh(laplacian, subset_by_index=[0, min(most, count) - 1])
        return values, vectors
    # The largest eigenvalues of the shifted matrix: those that Lanczos' method finds fast.
    shift = 2 * degrees.max()
    shifted = affinity + diags_array(shift - degrees)
    start = np.random.default_rng(0).standard_normal(count)
    values, vectors = eigsh(shifted, k=most, which="LA", v0=start)
    order = np.argsort(-values)
    return shift - values[order], vectors[:, order]


def largest_gap(eigenvalues: np.ndarray) -> int:
    """The number of eigenvalues before the largest gap between two neighbours."""
    return int(np.argmax(np.diff(eigenvalues))) + 1 if len(eigenvalues) > 1 else 1


def spectral_labels(
    units: np.ndarray, *, neighbours: int, num_clusters: int | None, max_clusters: int
) -> np.ndarray:
    """The cluster of each window, int64 ``[windows]``, from 0.

    Args:
        units: float32 ``[windows, dimension]``, of length 1.
        neighbours: that a window keeps.
        num_clusters: ``None`` to find it.
        max_clusters: the most that may be found.
    """
    affinity = pruned_affinity(units, neighbours)
    wanted = max_clusters + 1 if num_clusters is None else num_clusters
    values, vectors = smallest_eigenvectors(affinity, min(wanted, len(units)))
    found = largest_gap(values) if num_clusters is None else num_clusters
    kmeans = KMeans(n_clusters=found, n_init=_RESTARTS, random_state=0)
    labels: np.ndarray = kmeans.fit_predict(vectors[:, :found]).astype(np.int64)
    return labels
