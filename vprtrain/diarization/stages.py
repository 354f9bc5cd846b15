"""The first stage of each method of clustering: from the windows of a recording to its parts.

Each function gives the part of each window, int64 ``[windows]``, from 0. ``groups`` are those of
:func:`vprtrain.diarization.grouping.grouped`, and ``least`` is the number of windows of a speaker.
"""

from __future__ import annotations

import numpy as np

from vprtrain.diarization.agglomerative import agglomerative_labels
from vprtrain.diarization.centroids import centroids
from vprtrain.diarization.refinement import without_small
from vprtrain.diarization.spectral import spectral_labels
from vprtrain.diarization.vbx import FB, vbx_labels

_MOST_STATES = 100
_USUAL = 300
"""The windows of five minutes, for which the prior of VBx was chosen"""
_PURE = 0.5
"""The mean cosine in the clusters that VBx begins with: few have windows of two speakers."""
_WEAKER = 1, 2, 4
"""VBx with a weaker prior of the means finds more speakers."""


def by_vbx(units: np.ndarray, groups: np.ndarray, *, least: int, fewest: int) -> np.ndarray | None:
    """The speakers of a Bayesian hidden Markov model, which begins with many small clusters;
    ``None`` if they are less than ``fewest`` with the weakest prior as well."""
    share = min(1.0, len(units) / _USUAL)  # with less windows a speaker has less as well
    pure = by_linkage(units, groups, least=least, threshold=_PURE, number=None, most=_MOST_STATES)
    start = without_small(units, pure, least=least, keep=1)
    for weaker in _WEAKER:
        found = vbx_labels(units, start, fb=FB * share / weaker)
        labels = without_small(units, found, least=least, keep=1)
        if labels.max() + 1 >= fewest:
            return labels
    return None


def by_spectrum(
    units: np.ndarray, groups: np.ndarray, *, number: int | None, most: int
) -> np.ndarray:
    """The clusters of a graph of neighbours: NME-SC."""
    means = centroids(units, groups)
    return spectral_labels(means, num_clusters=number, max_clusters=most)[groups]


def by_linkage(
    units: np.ndarray,
    groups: np.ndarray,
    *,
    least: int,
    threshold: float,
    number: int | None,
    most: int,
) -> np.ndarray:
    """The clusters of average linkage, up to the mean cosine ``threshold``."""
    found = agglomerative_labels(
        centroids(units, groups),
        np.bincount(groups),
        threshold=threshold,
        least=least,
        num_clusters=number,
        max_clusters=most,
    )
    return found[groups]
