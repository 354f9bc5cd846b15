"""The speakers among the windows of a recording."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np

from vprtrain.diarization.centroids import centroids

Method: TypeAlias = Literal["vbx", "agglomerative", "spectral"]

_FEW, _ENOUGH = 40, 120
_LEAST = 2, 5
_MOST_PARTS = 20
"""Clusters that are looked for at least, before alike ones are joined"""
_MOST_STATES = 100
_USUAL = 300
"""The windows of five minutes, for which the prior of VBx was chosen"""
_PURE = 0.5
"""The mean cosine in the clusters that VBx begins with: few have windows of two speakers."""
_NEVER = 2.0
"""No cosine is as high."""
_WEAKER = 1, 2, 4
"""VBx with a weaker prior of the means finds more speakers."""
_MOST_GROUPS: dict[Method, int] = {"vbx": 2000, "agglomerative": 2000, "spectral": 1000}
"""A matrix of all pairs of groups then takes 32, 32 and 8 MB."""


@dataclass(frozen=True, kw_only=True)
class Clustering:
    """Finds the speaker of each window.

    ``vbx`` begins with many small clusters, and finds the speakers by
    :func:`vprtrain.diarization.vbx.vbx_labels`. The two other methods find clusters that are only a
    start: one may be a part of a speaker (a repeated phrase, another noise), or two speakers, one
    of whom says little. A cluster is split while its halves have means with a cosine below
    ``two_speakers``, and clusters are joined while their means have one of at least
    ``same_speaker``.

    A speaker has at least 5 windows, or a fifth of a recording with less than 25, and at least two.
    What is less joins the nearest speaker. Where ``vbx`` finds more speakers than asked for, the
    most alike ones are joined; the other methods cut at the given number.

    The values are chosen with a published CAM++ on conversations of training speakers. There the
    means of two speakers had cosines from -0.1 to 0.5, in one studio above 0.5 as well, and those
    of the halves of one from 0.5 to 0.9.

    Args:
        method: ``vbx``: a Bayesian hidden Markov model; less than 120 windows say too little about
            it and are clustered as ``spectral``: NME-SC. ``agglomerative``: average linkage up to
            ``threshold``. Less than 40 windows have no spectrum to speak of: they are always
            agglomerated.
        threshold: cosine.
        same_speaker: cosine.
        two_speakers: cosine, up to ``same_speaker``.
    """

    method: Method = "vbx"
    threshold: float = 0.3
    same_speaker: float = 0.5
    two_speakers: float = 0.4

    def labels(
        self, units: np.ndarray, *, num_speakers: int | None, max_speakers: int
    ) -> np.ndarray:
        """The speaker of each window, int64 ``[windows]``, from 0.

        Args:
            units: float32 ``[windows, dimension]``, of length 1, at least one, in the order of the
                recording.
            num_speakers: ``None`` to find it; else at most the number of windows.
            max_speakers: the most that may be found.
        """
        # SciPy and scikit-learn take seconds to import, and who compares voices needs neither.
        from vprtrain.diarization.grouping import grouped
        from vprtrain.diarization.refinement import halved, joined, without_small

        if len(units) == 1:
            return np.zeros(1, np.int64)
        least = _least(units)
        groups = grouped(units, max(_MOST_GROUPS[self.method], num_speakers or 0))
        if self.method == "vbx" and len(units) >= _ENOUGH:
            labels = self._speakers(units, groups, num_speakers)
            return joined(units, labels, cosine=_NEVER, most=num_speakers or max_speakers)
        parts = self._parts(units, groups, num_speakers, max(max_speakers, _MOST_PARTS))
        labels = without_small(units, parts, least=least, keep=num_speakers or 1)
        if num_speakers is not None:
            return labels
        labels = halved(units, labels, cosine=self.two_speakers, least=least)
        return joined(units, labels, cosine=self.same_speaker, most=max_speakers)

    def _speakers(
        self, units: np.ndarray, groups: np.ndarray, num_speakers: int | None
    ) -> np.ndarray:
        """By VBx; at least as many as asked for."""
        from vprtrain.diarization.refinement import without_small
        from vprtrain.diarization.vbx import FB, vbx_labels

        least, fewest = _least(units), num_speakers or 1
        share = min(1.0, len(units) / _USUAL)  # with less windows a speaker has less as well
        pure = self._agglomerated(units, groups, _PURE, None, _MOST_STATES)
        start = without_small(units, pure, least=least, keep=1)
        for weaker in _WEAKER:
            found = vbx_labels(units, start, fb=FB * share / weaker)
            labels = without_small(units, found, least=least, keep=1)
            if labels.max() + 1 >= fewest:
                return labels
        parts = self._agglomerated(units, groups, self.threshold, num_speakers, _MOST_PARTS)
        return without_small(units, parts, least=least, keep=fewest)

    def _parts(
        self, units: np.ndarray, groups: np.ndarray, num_speakers: int | None, most: int
    ) -> np.ndarray:
        from vprtrain.diarization.spectral import spectral_labels

        if self.method == "agglomerative" or len(units) < _FEW:
            return self._agglomerated(units, groups, self.threshold, num_speakers, most)
        means = centroids(units, groups)
        return spectral_labels(means, num_clusters=num_speakers, max_clusters=most)[groups]

    @staticmethod
    def _agglomerated(
        units: np.ndarray, groups: np.ndarray, threshold: float, number: int | None, most: int
    ) -> np.ndarray:
        from vprtrain.diarization.agglomerative import agglomerative_labels

        found = agglomerative_labels(
            centroids(units, groups),
            np.bincount(groups),
            threshold=threshold,
            least=_least(units),
            num_clusters=number,
            max_clusters=most,
        )
        return found[groups]


def _least(units: np.ndarray) -> int:
    return min(_LEAST[1], max(_LEAST[0], len(units) // 5))
