"""The first stage of each method of clustering: from the windows of a recording to its parts.

Each function gives the part of each window, int64 ``[windows]``, from 0. ``groups`` are those of
:func:`vprtrain.diarization.grouping.grouped`, and ``least`` is the number of windows of a speaker.
"""

from __future__ import annotations

import numpy as np

from vprtrain.diarization.agglomerative import agglomerative_labels
from vprtrain.diarization.centroids import centroids
from vprtrain.diarization.refinement import joined, without_small
from vprtrain.diarization.silhouette import silhouette
from vprtrain.diarization.spectral import spectral_labels
from vprtrain.diarization.vbx import vbx_labels

_MOST_STATES = 100
_USUAL = 300
"""The windows of five minutes, for which the prior of VBx was chosen"""
_PURE = 0.5
"""The mean cosine in the clusters that VBx begins with: few have windows of two speakers."""
_PRIORS = 5.0, 4.0, 3.5, 3.0, 2.5, 2.0
"""Weights of VBx's prior of the means, from few speakers to many. Noise changes the right one."""
_WEAKER_PRIORS = 1.75, 0.875
"""Further ones for a given number of speakers, which others may not give."""
_NEVER = 2.0
"""No cosine is as high."""
_AS_GOOD = 0.01
"""A silhouette that is lower by so little is as good."""


def by_vbx(
    units: np.ndarray, groups: np.ndarray, *, least: int, number: int | None, most: int
) -> np.ndarray:
    """The speakers of a Bayesian hidden Markov model, which begins with many small clusters.

    Of several priors that one is taken whose speakers are most apart, and of equally good ones that
    with the most speakers. Where there are more than the given ``number``, or than ``most``, the
    nearest are joined. Priors that give fewer than ``number`` count only if all do.
    """
    share = min(1.0, len(units) / _USUAL)  # with less windows a speaker has less as well
    pure = by_linkage(units, groups, least=least, threshold=_PURE, number=None, most=_MOST_STATES)
    start = without_small(units, pure, least=least, keep=1)

    def speakers(prior: float) -> np.ndarray:
        found = vbx_labels(units, start, fb=prior * share)
        return without_small(units, found, least=least, keep=1)

    found = [speakers(prior) for prior in _PRIORS + (_WEAKER_PRIORS if number else ())]
    found = [labels for labels in found if labels.max() + 1 >= (number or 1)] or found
    found = [joined(units, labels, cosine=_NEVER, most=number or most) for labels in found]
    apart = [silhouette(units, labels) for labels in found]
    return next(
        labels
        for labels, value in zip(reversed(found), reversed(apart), strict=True)
        if value >= max(apart) - _AS_GOOD
    )


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
