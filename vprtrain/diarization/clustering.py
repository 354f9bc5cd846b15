"""The speakers among the windows of a recording."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np

Method: TypeAlias = Literal["vbx", "agglomerative", "spectral"]

_FEW, _ENOUGH = 40, 120
"""The windows that have a spectrum to speak of, and those that say enough about a VBx model"""
_LEAST = 2, 5
_MOST_PARTS = 20
"""Clusters that are looked for at least, before alike ones are joined"""
_MOST_GROUPS: dict[Method, int] = {"vbx": 2000, "agglomerative": 2000, "spectral": 1000}
"""A matrix of all pairs of groups then takes 32, 32 and 8 MB."""


@dataclass(frozen=True, kw_only=True)
class Clustering:
    """Finds the speaker of each window.

    ``vbx`` begins with many small clusters, and finds the speakers by
    :func:`vprtrain.diarization.vbx.vbx_labels` with several priors; the speakers that are most
    apart are taken. The two other methods find clusters that are only a start: one may be a part of
    a speaker (a repeated phrase, another noise), or two speakers, one of whom says little. A
    cluster is split while its halves have means with a cosine below ``two_speakers``, and clusters
    are joined while their means have one of at least ``same_speaker``.

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
        from vprtrain.diarization.stages import by_linkage, by_spectrum, by_vbx

        if len(units) == 1:
            return np.zeros(1, np.int64)
        method, least = self._method(len(units)), _least(units)
        groups = grouped(units, max(_MOST_GROUPS[method], num_speakers or 0))
        most = max(max_speakers, _MOST_PARTS)
        if method == "vbx":
            found = by_vbx(units, groups, least=least, number=num_speakers, most=max_speakers)
            if found.max() + 1 >= (num_speakers or 1):
                return found
        if method == "spectral":
            parts = by_spectrum(units, groups, number=num_speakers, most=most)
        else:
            parts = by_linkage(
                units,
                groups,
                least=least,
                threshold=self.threshold,
                number=num_speakers,
                most=most,
            )
        return self._refined(units, parts, num_speakers, max_speakers)

    def _method(self, windows: int) -> Method:
        """The method for a recording with so many windows."""
        if windows < _FEW:
            return "agglomerative"
        return "spectral" if self.method == "vbx" and windows < _ENOUGH else self.method

    def _refined(
        self, units: np.ndarray, parts: np.ndarray, num_speakers: int | None, max_speakers: int
    ) -> np.ndarray:
        """The speakers: parts of one are joined, parts of two are split."""
        from vprtrain.diarization.refinement import halved, joined, without_small

        least = _least(units)
        labels = without_small(units, parts, least=least, keep=num_speakers or 1)
        if num_speakers is not None:
            return labels
        labels = halved(units, labels, cosine=self.two_speakers, least=least)
        return joined(units, labels, cosine=self.same_speaker, most=max_speakers)


def _least(units: np.ndarray) -> int:
    return min(_LEAST[1], max(_LEAST[0], len(units) // 5))
