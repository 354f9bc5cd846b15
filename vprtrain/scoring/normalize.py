"""Score normalisation by the scores of a cohort of other speakers against each side of a trial.

Z-norm: Reynolds, "Comparison of background normalization methods for text-independent speaker
verification" (1997). S-norm: Kenny, "Bayesian speaker verification with heavy-tailed priors"
(2010). AS-norm (adaptive: only the cohort speakers nearest to each side): Matejka et al., "Analysis
of score normalization in multilingual speaker recognition" (2017), AS-norm1. The cohort is that of
WeSpeaker: the mean embeddings of the training speakers after sub-mean.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from vprtrain.scoring.cosine import Pairs, Sides, unit_vectors
from vprtrain.scoring.thresholds import ScoringError

Norm = Literal["sub-mean", "z-norm", "s-norm", "as-norm"]
"""The kinds of score normalisation; :func:`normalize_scores` defines them."""
DEFAULT_TOP = 300
"""The number of cohort speakers nearest to a vector, in AS-norm."""

_BLOCK_BYTES = 1 << 26  # of float32 cohort scores in memory


class Cohort(NamedTuple):
    """Other speakers, and the mean to subtract from embeddings that are compared with them."""

    vectors: np.ndarray
    """float32 ``[speakers, dimension]``, each of length 1."""
    mean: np.ndarray
    """float64 ``[dimension]``, the mean of all training embeddings."""


class CohortStatistics(NamedTuple):
    """Mean and standard deviation of the cohort's scores against each vector."""

    mean: np.ndarray
    """float64 ``[vectors]``."""
    std: np.ndarray
    """float64 ``[vectors]``, of the population, above 0."""


def build_cohort(embeddings: np.ndarray, speakers: ArrayLike) -> Cohort:
    """Build a cohort from training embeddings.

    The vector of a speaker is the mean of its embeddings, which are not length-normalised before,
    minus the mean of all embeddings, scaled to length 1.

    Args:
        embeddings: ``[utterances, dimension]``.
        speakers: ``[utterances]``, labels of any type.

    Raises:
        ScoringError: there are fewer than two speakers, or the vector of a speaker is zero or not
            finite. The message names the speakers.
    """
    names, labels = np.unique(np.asarray(speakers), return_inverse=True)
    if len(labels) != len(embeddings) or len(names) < 2:
        raise ScoringError(
            "expected a speaker for every embedding and at least two speakers, found "
            f"{len(embeddings)} embeddings and {len(labels)} labels of {len(names)} speakers"
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
    """Mean and standard deviation of the cosines between vectors and the cohort.

    The products for ``top`` are in float32, in blocks of a bounded size.

    Args:
        vectors: ``[vectors, dimension]``, each of length 1.
        top: only this number of the highest cosines of each vector counts; ``None`` for the whole
            cohort.

    Raises:
        ScoringError: ``top`` is below 2, or the cohort's scores do not vary.
    """
    if top is not None and top < 2:
        raise ScoringError(
            f"expected the top 2 of the cohort or more, found {top}: one score has no deviation"
        )
    speakers = len(cohort.vectors)
    if top is None or top >= speakers:
        # Over the whole cohort, the mean is linear and the variance quadratic in the vector: the
        # single scores are not needed.
        everyone = cohort.vectors.astype(np.float64)
        covariance = np.cov(everyone, rowvar=False, bias=True)
        variance = np.einsum("vd,vd->v", vectors @ covariance, vectors)
        return _check_varying(vectors @ everyone.mean(axis=0), variance)
    mean, variance = np.empty(len(vectors)), np.empty(len(vectors))
    rows = max(1, min(len(vectors), _BLOCK_BYTES // (4 * speakers)))
    buffer = np.empty((rows, speakers), dtype=np.float32)
    for start in range(0, len(vectors), rows):
        block = vectors[start : start + rows].astype(np.float32)
        scores = np.matmul(block, cohort.vectors.T, out=buffer[: len(block)])
        scores.partition(speakers - top, axis=1)
        nearest = scores[:, speakers - top :]
        mean[start : start + rows] = nearest.mean(axis=1, dtype=np.float64)
        variance[start : start + rows] = nearest.var(axis=1, dtype=np.float64)
    return _check_varying(mean, variance)


def normalize_scores(
    scores: np.ndarray,
    pairs: Pairs,
    sides: Sides,
    cohort: Cohort,
    *,
    norm: Norm = "as-norm",
    top: int = DEFAULT_TOP,
) -> np.ndarray:
    """The normalised scores, float64 ``[pairs]``.

    Args:
        scores: :func:`vprtrain.scoring.cosine.dot_products` of ``sides``.
        sides: :func:`vprtrain.scoring.cosine.unit_sides` with ``mean=cohort.mean``.
        norm: ``sub-mean`` returns the scores unchanged. ``z-norm`` normalises by the enrolment's
            statistics over the whole cohort; ``s-norm`` takes the mean of this and the same for the
            test utterance. ``as-norm`` is S-norm over the cohort speakers nearest to each side.
        top: the number of these speakers.

    Raises:
        ScoringError: as in :func:`cohort_statistics`.
    """
    if norm == "sub-mean":
        return scores
    nearest = top if norm == "as-norm" else None
    enrolled = cohort_statistics(sides.enrolled, cohort, top=nearest)
    if norm == "z-norm":
        return _standardise(scores, enrolled, pairs.enroll)
    return symmetric_norm(
        scores, pairs, enrolled, cohort_statistics(sides.tested, cohort, top=nearest)
    )


def symmetric_norm(
    scores: np.ndarray, pairs: Pairs, enrolled: CohortStatistics, tested: CohortStatistics
) -> np.ndarray:
    """The mean of the scores, normalised by the statistics of each side, float64 ``[pairs]``."""
    return (
        _standardise(scores, enrolled, pairs.enroll) + _standardise(scores, tested, pairs.test)
    ) / 2


def _standardise(
    scores: np.ndarray, statistics: CohortStatistics, places: np.ndarray
) -> np.ndarray:
    standardised: np.ndarray = (scores - statistics.mean[places]) / statistics.std[places]
    return standardised


def _check_varying(mean: np.ndarray, variance: np.ndarray) -> CohortStatistics:
    if not (variance > 1e-12).all():
        count = np.count_nonzero(~(variance > 1e-12))
        raise ScoringError(
            f"{count} of {len(variance)} embeddings have the same score against every speaker of "
            "the cohort; use a cohort of different speakers"
        )
    return CohortStatistics(mean, np.sqrt(variance))
