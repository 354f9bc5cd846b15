"""Spectral clustering that finds the number of clusters and its own pruning (NME-SC).

Two windows are joined in a graph if one is among the nearest of the other. The eigenvectors of the
graph's Laplacian with the smallest eigenvalues are clustered by k-means, and the largest gap
between two neighbouring eigenvalues tells how many they are. The number of neighbours is the one
with the smallest ratio of neighbours to gap (Park et al., "Auto-tuning spectral clustering for
speaker diarization using normalized maximum eigengap", IEEE SPL 2020).
"""

from __future__ import annotations

import numpy as np
from scipy.linalg import eigh, eigvalsh
from sklearn.cluster import KMeans

_SHARES = np.linspace(0.05, 0.35, 10)
"""Of all windows, that are neighbours. Below a twentieth the windows of one repeated phrase are a
cluster of their own."""
_LEAST_NEIGHBOURS = 6
_RESTARTS = 10


def spectral_labels(
    units: np.ndarray, *, num_clusters: int | None, max_clusters: int
) -> np.ndarray:
    """The cluster of each vector, int64 ``[vectors]``, from 0.

    Time grows with the third power of the number of vectors: 1,000 take about 5 s.

    Args:
        units: ``[vectors, dimension]``, of length 1, at least two.
        num_clusters: ``None`` to find it.
        max_clusters: the most that may be found.
    """
    order = np.argsort(-(units @ units.T), axis=1, kind="stable")
    counts = np.unique(np.maximum(_LEAST_NEIGHBOURS, np.round(_SHARES * len(units)).astype(int)))
    found = [
        _largest_gap(laplacian(order, count), max_clusters)
        for count in counts
        if count < len(units)
    ]
    ratios = [count / gap for count, (gap, _) in zip(counts, found, strict=False)]
    best = int(np.argmin(ratios))
    clusters = found[best][1] if num_clusters is None else num_clusters
    graph = laplacian(order, counts[best])
    _, vectors = eigh(graph, subset_by_index=[0, clusters - 1])
    kmeans = KMeans(n_clusters=clusters, n_init=_RESTARTS, random_state=0)
    labels: np.ndarray = kmeans.fit_predict(vectors).astype(np.int64)
    return labels


def laplacian(order: np.ndarray, neighbours: int) -> np.ndarray:
    """The Laplacian of the graph of nearest neighbours, float64 ``[vectors, vectors]``.

    Args:
        order: ``[vectors, vectors]``, in each row all vectors from the nearest, itself, on.
        neighbours: that each vector has, itself included.
    """
    graph = np.zeros(order.shape)
    np.put_along_axis(graph, order[:, :neighbours], 1.0, axis=1)
    graph = (graph + graph.T) / 2
    np.fill_diagonal(graph, 0)
    found: np.ndarray = np.diag(graph.sum(axis=1)) - graph
    return found


def _largest_gap(graph: np.ndarray, max_clusters: int) -> tuple[float, int]:
    """The largest gap between neighbouring eigenvalues as a share of the largest eigenvalue, and
    the number of eigenvalues before it."""
    values = eigvalsh(graph)
    gaps = np.diff(values[: max_clusters + 1])
    return max(float(gaps.max() / values[-1]), 1e-9), int(gaps.argmax()) + 1
