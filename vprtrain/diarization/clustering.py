"""The speakers among the windows of a recording."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np

from vprtrain.diarization.centroids import centroids

Method: TypeAlias = Literal["agglomerative", "spectral"]

_FEW = 40
_LEAST = 2, 5
_MOST_PARTS = 20
"""Clusters that are looked for at least, before alike ones are joined"""
_MOST_GROUPS: dict[Method, int] = {"agglomerative": 2000, "spectral": 1000}
"""A matrix of all pairs of groups then takes 32 and 8 MB."""


@dataclass(frozen=True, kw_only=True)
class Clustering:
    """Finds the speaker of each window.

    Where the number of speakers is not given, the clusters of ``method`` are only a start: one may
    be a part of a speaker (a repeated phrase, another noise), or two speakers, one of whom says
    little. A cluster is split while its halves have means with a cosine below ``two_speakers``, and
    clusters are joined while their means have one of at least ``same_speaker``. A speaker has at
    least 5 windows, or a fifth of a recording with less than 25, and at least two. What is less
    joins the nearest speaker.

    The values are chosen with a published CAM++ on conversations of training speakers. There the
    means of two speakers had cosines from -0.1 to 0.5 (the highest in one studio), and those of the
    halves of one from 0.5 to 0.9.

    Args:
        method: ``spectral``: NME-SC. ``agglomerative``: average linkage up to ``threshold``. Less
            than 40 windows have no spectrum to speak of: they are always agglomerated.
        threshold: cosine.
        same_speaker: cosine.
        two_speakers: cosine, up to ``same_speaker``.
    """

    method: Method = "spectral"
    threshold: float = 0.3
    same_speaker: float = 0.5
    two_speakers: float = 0.4

    def labels(
        self, units: np.ndarray, *, num_speakers: int | None, max_speakers: int
    ) -> np.ndarray:
        """The speaker of each window, int64 ``[windows]``, from 0.

        Args:
            units: float32 ``[windows, dimension]``, of length 1, at least one.
            num_speakers: ``None`` to find it; else at most the number of windows.
            max_speakers: the most that may be found.
        """
        # SciPy and scikit-learn take seconds to import, and who compares voices needs neither.
        from vprtrain.diarization.grouping import grouped
        from vprtrain.diarization.refinement import halved, joined, without_small

        if len(units) == 1:
            return np.zeros(1, np.int64)
        groups = grouped(units, max(_MOST_GROUPS[self.method], num_speakers or 0))
        parts = self._parts(units, groups, num_speakers, max(max_speakers, _MOST_PARTS))
        if num_speakers is not None:
            return without_small(units, parts, least=_least(units), keep=num_speakers)
        labels = without_small(units, parts, least=_least(units), keep=1)
        labels = halved(units, labels, cosine=self.two_speakers, least=_least(units))
        return joined(units, labels, cosine=self.same_speaker, most=max_speakers)

    def _parts(
        self, units: np.ndarray, groups: np.ndarray, num_speakers: int | None, most: int
    ) -> np.ndarray:
        from vprtrain.diarization.agglomerative import agglomerative_labels
        from vprtrain.diarization.spectral import spectral_labels

        means, sizes = centroids(units, groups), np.bincount(groups)
        if self.method == "spectral" and len(units) >= _FEW:
            found = spectral_labels(means, num_clusters=num_speakers, max_clusters=most)
        else:
            found = agglomerative_labels(
                means,
                sizes,
                threshold=self.threshold,
                least=_least(units),
                num_clusters=num_speakers,
                max_clusters=most,
            )
        return found[groups]


def _least(units: np.ndarray) -> int:
    return min(_LEAST[1], max(_LEAST[0], len(units) // 5))
