"""Score normalisation: scores measured by how a cohort of other speakers scores against each side.

Z-norm: Reynolds, "Comparison of background normalization methods for text-independent speaker
verification" (1997). S-norm: Kenny, "Bayesian speaker verification with heavy-tailed priors"
(2010). AS-norm (adaptive, by each side's own nearest cohort): Matejka et al., "Analysis of score
normalization in multilingual speaker recognition" (2017), AS-norm1. The cohort is WeSpeaker's: the
training speakers' mean embeddings after sub-mean.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from vprtrain.scoring.cosine import Sides, unit_vectors
from vprtrain.scoring.metrics import ScoringError
from vprtrain.scoring.trials import Trials

Norm = Literal["sub-mean", "z-norm", "s-norm", "as-norm"]
"""The kinds of score normalisation; :func:`normalize_scores` defines them."""
DEFAULT_TOP = 300
"""of the cohort, those nearest to a vector, in AS-norm"""

_BLOCK_BYTES = 1 << 26  # of float32 scores with the cohort at once


class Cohort(NamedTuple):
    """Other speakers, and the mean that is subtracted from every embedding that meets them."""

    vectors: np.ndarray
    """float32 ``[speakers, dimension]``, each of length 1"""
    mean: np.ndarray
    """float64 ``[dimension]``, of all training embeddings"""


class CohortStatistics(NamedTuple):
    """How the cohort scores against each vector."""

    mean: np.ndarray
    """float64 ``[vectors]``"""
    std: np.ndarray
    """float64 ``[vectors]``, of the population, above 0"""


def build_cohort(embeddings: np.ndarray, speakers: ArrayLike) -> Cohort:
    """The cohort of training ``embeddings`` ``[utterances, dimension]`` by ``speakers``
    ``[utterances]`` (any labels).

    A speaker's vector is the mean of its embeddings as they are, less the mean of all embeddings.

    Raises :class:`ScoringError` for fewer than two speakers, and naming those whose vector is zero
    or not finite.
    """
    names, labels = np.unique(np.asarray(speakers), return_inverse=True)
    if len(labels) != len(embeddings) or len(names) < 2:
        raise ScoringError(
            f"expected a speaker for every embedding and at least two, found {len(embeddings)} embeddings of "
            f"{len(names)} speakers in {len(labels)} labels"
        )
    order = np.argsort(labels, kind="stable")
    starts = np.searchsorted(labels[order], np.arange(len(names)))
    means = np.stack(
        [rows.mean(axis=0, dtype=np.float64) for rows in np.split(embeddings[order], starts[1:])]
    )
    mean = embeddings.mean(axis=0, dtype=np.float64)
    return Cohort(unit_vectors(means, names, mean=mean).astype(np.float32), mean)


def cohort_statistics(
    vectors: np.ndarray, cohort: Cohort, *, top: int | None = DEFAULT_TOP
) -> CohortStatistics:
    """Mean and standard deviation of the cosines of unit ``vectors`` ``[vectors, dimension]`` with
    the cohort.

    Of the ``top`` highest only, or of the whole cohort where it is no larger or ``top`` is
    ``None``. Products in float32, in blocks of a bounded size.

    Raises :class:`ScoringError` for a ``top`` below 2, and where the cohort's scores do not vary.
    """
    if top is not None and top < 2:
        raise ScoringError(
            f"expected the top 2 of the cohort or more, not {top}: one score has no deviation"
        )
    speakers = len(cohort.vectors)
    if top is None or top >= speakers:
        # Mean and variance over the whole cohort are linear and quadratic in the vector: no score
        # is needed.
        everyone = cohort.vectors.astype(np.float64)
        covariance = np.cov(everyone, rowvar=False, bias=True)
        variance = np.einsum("vd,vd->v", vectors @ covariance, vectors)
        return _varying(vectors @ everyone.mean(axis=0), variance)
    mean, variance = np.empty(len(vectors)), np.empty(len(vectors))
    rows = max(1, _BLOCK_BYTES // (4 * speakers))
    buffer = np.empty((rows, speakers), dtype=np.float32)
    for start in range(0, len(vectors), rows):
        block = vectors[start : start + rows].astype(np.float32)
        scores = np.matmul(block, cohort.vectors.T, out=buffer[: len(block)])
        scores.partition(speakers - top, axis=1)
        nearest = scores[:, speakers - top :]
        mean[start : start + rows] = nearest.mean(axis=1, dtype=np.float64)
        variance[start : start + rows] = nearest.var(axis=1, dtype=np.float64)
    return _varying(mean, variance)


def normalize_scores(
    scores: np.ndarray,
    trials: Trials,
    sides: Sides,
    cohort: Cohort,
    *,
    norm: Norm = "as-norm",
    top: int = DEFAULT_TOP,
) -> np.ndarray:
    """The normalised scores, float64 ``[trials]``.

    ``sides`` are :func:`vprtrain.scoring.cosine.unit_sides` with ``mean=cohort.mean``, ``scores``
    their :func:`vprtrain.scoring.cosine.dot_products`, which sub-mean leaves as they are. Z-norm
    goes by the enrolment's side alone and S-norm by the mean of both, each against the whole
    cohort; AS-norm is S-norm against the ``top`` of each side.

    Raises :class:`ScoringError` as :func:`cohort_statistics` does.
    """
    if norm == "sub-mean":
        return scores
    nearest = top if norm == "as-norm" else None
    enrolled = _standardized(
        scores, cohort_statistics(sides.enrolled, cohort, top=nearest), trials.enroll
    )
    if norm == "z-norm":
        return enrolled
    return (
        enrolled
        + _standardized(scores, cohort_statistics(sides.tested, cohort, top=nearest), trials.test)
    ) / 2


def _standardized(
    scores: np.ndarray, statistics: CohortStatistics, places: np.ndarray
) -> np.ndarray:
    standardized: np.ndarray = (scores - statistics.mean[places]) / statistics.std[places]
    return standardized


def _varying(mean: np.ndarray, variance: np.ndarray) -> CohortStatistics:
    if not (variance > 1e-12).all():
        count = np.count_nonzero(~(variance > 1e-12))
        raise ScoringError(
            f"{count} of {len(variance)} embeddings score alike against the whole cohort"
        )
    return CohortStatistics(mean, np.sqrt(variance))
