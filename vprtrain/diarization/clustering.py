"""The speakers among the windows of a recording."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np

from vprtrain.diarization.agglomerative import agglomerative_labels
from vprtrain.diarization.centroids import centroids
from vprtrain.diarization.grouping import grouped
from vprtrain.diarization.spectral import spectral_labels

Method: TypeAlias = Literal["agglomerative", "spectral"]

_FEW = 40
"""Windows below which there is no spectrum to speak of, as in 3D-Speaker"""
_MOST_LEAST = 5
_MOST_GROUPS: dict[Method, int] = {"agglomerative": 2000, "spectral": 1000}
"""A matrix of all pairs of groups then takes 32 and 8 MB."""


@dataclass(frozen=True, kw_only=True)
class Clustering:
    """Finds the speaker of each window. Settings are chosen on conversations of training speakers.

    A speaker has at least 5 windows, or a tenth of a recording with less than 50. What is
    less joins the nearest speaker, except that a given number of speakers is always found.
    """

    method: Method = "agglomerative"
    threshold: float = 0.3
    """Cosine: of ``agglomerative``, and of either method with less than 40 windows"""

    def labels(
        self, units: np.ndarray, *, num_speakers: int | None, max_speakers: int
    ) -> np.ndarray:
        """The speaker of each window, int64 ``[windows]``, from 0.

        Args:
            units: float32 ``[windows, dimension]``, of length 1, at least one.
            num_speakers: ``None`` to find it; else at most the number of windows.
            max_speakers: the most that may be found.
        """
        if len(units) == 1:
            return np.zeros(1, np.int64)
        groups = grouped(units, max(_MOST_GROUPS[self.method], num_speakers or 0))
        means, sizes = centroids(units, groups), np.bincount(groups)
        least = max(1, min(_MOST_LEAST, len(units) // 10))
        if self.method == "spectral" and len(units) >= _FEW:
            labels = spectral_labels(means, num_clusters=num_speakers, max_clusters=max_speakers)
        else:
            labels = agglomerative_labels(
                means,
                sizes,
                threshold=self.threshold,
                least=least,
                num_clusters=num_speakers,
                max_clusters=max_speakers,
            )
        return without_small(units, labels[groups], least=least, keep=num_speakers or 1)


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
