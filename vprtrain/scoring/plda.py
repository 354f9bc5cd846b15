"""Two-covariance PLDA: one Gaussian for speakers, one for the variation within a speaker.

``embedding = mean + speaker + rest`` with ``speaker ~ N(0, between)`` and ``rest ~ N(0, within)``:
Brümmer and de Villiers, "The speaker partitioning problem" (2010). Before, embeddings are prepared
as in Garcia-Romero and Espy-Wilson, "Analysis of i-vector length normalization" (2011): the
training mean is subtracted, then follow LDA (optional) and length normalisation.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from vprtrain.errors import UsageError, shown
from vprtrain.files import replacing
from vprtrain.scoring.cosine import Pairs, Sides, dot_products
from vprtrain.scoring.npz import read_npz
from vprtrain.scoring.thresholds import ScoringError

_RIDGE = 1e-6
"""Times the mean variance, added to a covariance that is singular if utterances are few."""
_MOST_BYTES = 1 << 30  # of a saved PLDA; one of 5,000 dimensions has 400 MB


@dataclass(frozen=True, kw_only=True, eq=False)
class Plda:
    """A fitted PLDA. All arrays are float64."""

    center: np.ndarray
    """``[dimension]``, the mean of the training embeddings."""
    projection: np.ndarray
    """``[dimension, kept]``, the directions of LDA; the identity matrix without LDA."""
    mean: np.ndarray
    """``[kept]``, the mean after projection and length normalisation."""
    basis: np.ndarray
    """``[kept, kept]``. ``(x - mean) @ basis`` has the identity as its covariance within speakers,
    and a diagonal covariance between speakers."""
    between: np.ndarray
    """``[kept]``, that diagonal, not negative."""

    @classmethod
    def fit(
        cls,
        embeddings: np.ndarray,
        speakers: ArrayLike,
        *,
        lda_dim: int | None = None,
        iterations: int = 20,
    ) -> Plda:
        """Fit a PLDA, starting from the sample covariances, by expectation-maximisation.

        Args:
            embeddings: ``[utterances, dimension]``.
            speakers: ``[utterances]``, labels of any type.
            lda_dim: the number of directions that LDA keeps; ``None`` for no LDA.
            iterations: the number of steps of expectation-maximisation.

        Raises:
            ScoringError: there are fewer than two speakers, no speaker has two different
                utterances, an embedding is not finite, or ``lda_dim`` is not from 1 to the
                dimension.
        """
        vectors = np.asarray(embeddings, dtype=np.float64)
        _, labels = np.unique(np.asarray(speakers), return_inverse=True)
        _check_training_data(vectors, labels, lda_dim)
        center = vectors.mean(axis=0)
        projection = _lda(vectors - center, labels, lda_dim)
        prepared = _length_normalised((vectors - center) @ projection)
        mean = prepared.mean(axis=0)
        between, within = _fit_covariances(prepared - mean, labels, iterations)
        diagonal, basis = _eigh(between, within)
        return cls(
            center=center,
            projection=projection,
            mean=mean,
            basis=basis,
            between=np.maximum(diagonal, 0.0),
        )

    def transform(self, embeddings: np.ndarray) -> np.ndarray:
        """The embeddings in the space in which both covariances are diagonal.

        Args:
            embeddings: ``[utterances, dimension]``.

        Returns:
            float64 ``[utterances, kept]``.
        """
        vectors: np.ndarray = (
            _length_normalised((embeddings - self.center) @ self.projection) - self.mean
        ) @ self.basis
        return vectors

    def score(self, pairs: Pairs, sides: Sides) -> np.ndarray:
        """The natural log-likelihood ratio of every pair, float64 ``[pairs]``.

        Args:
            sides: from :func:`vprtrain.scoring.cosine.gather_sides`, before length normalisation.
                An enrolment of several utterances counts as one utterance, their mean.
        """
        enrolled, tested = self.transform(sides.enrolled), self.transform(sides.tested)
        # In every dimension, each vector has the variance total = between + 1, and two vectors of
        # one speaker have the covariance between. So log N(x, y | same) - log N(x) - log N(y) is
        # constant + square (x^2 + y^2) + cross x y.
        total = self.between + 1.0
        determinant = total**2 - self.between**2
        cross = self.between / determinant
        square = 0.5 * (1.0 / total - total / determinant)
        constant = np.sum(np.log(total) - 0.5 * np.log(determinant))
        products = dot_products(pairs, Sides(enrolled * cross, tested))
        scores: np.ndarray = (
            products
            + constant
            + (enrolled**2 @ square)[pairs.enroll]
            + (tested**2 @ square)[pairs.test]
        )
        return scores

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the PLDA as an npz file of plain arrays."""
        with replacing(Path(path)) as temporary, open(temporary, "wb") as file:
            np.savez(file, **{field.name: getattr(self, field.name) for field in fields(self)})

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Plda:
        """Read a file that :meth:`save` wrote. Nothing in the file is executed.

        Raises:
            UsageError: the file is something else.
        """
        try:
            return cls.of(read_npz(path, _MOST_BYTES))
        except ValueError as error:
            raise UsageError(f"{path} is not a PLDA that vprtrain saved ({error})") from error

    @classmethod
    def of(cls, arrays: Mapping[str, np.ndarray]) -> Plda:
        """The PLDA of these arrays.

        Raises:
            ValueError: they are those of something else; the message says why.
        """
        names = {field.name for field in fields(cls)}
        if set(arrays) != names:
            raise ValueError(f"expected the arrays {sorted(names)}, found {shown(sorted(arrays))}")
        if wrong := _wrong_array(arrays):
            raise ValueError(f"{wrong} has another shape or type, or numbers that are not finite")
        return cls(**arrays)


def _wrong_array(arrays: Mapping[str, np.ndarray]) -> str | None:
    """The name of the first array that no :class:`Plda` has."""
    dimension, kept = arrays["center"].size, arrays["mean"].size
    for name, *shape in (
        *(("center", dimension), ("mean", kept), ("between", kept)),
        *(("projection", dimension, kept), ("basis", kept, kept)),
    ):
        array = arrays[name]
        if array.dtype != np.float64 or list(array.shape) != shape or not np.isfinite(array).all():
            return name
    return "between" if (arrays["between"] < 0).any() else None


def _check_training_data(vectors: np.ndarray, labels: np.ndarray, lda_dim: int | None) -> None:
    if vectors.ndim != 2 or len(vectors) != len(labels):
        raise ScoringError(
            f"expected a speaker for every row, found {len(labels)} for shape {vectors.shape}"
        )
    if not np.isfinite(vectors).all():
        raise ScoringError(
            "some training embeddings are not finite; use another checkpoint, or leave them out"
        )
    counts = np.bincount(labels)
    if len(counts) < 2 or counts.max() < 2:
        raise ScoringError(
            "a PLDA needs at least two speakers, and one with several utterances; found "
            f"{len(counts)} speaker(s) with {len(labels)} utterances"
        )
    if lda_dim is not None and not 1 <= lda_dim <= vectors.shape[1]:
        raise ScoringError(
            f"expected lda_dim from 1 to the dimension {vectors.shape[1]}, found {lda_dim}"
        )


def _lda(centred: np.ndarray, labels: np.ndarray, kept: int | None) -> np.ndarray:
    """The directions with the highest ratio of the variance between speakers to that within."""
    if kept is None:
        return np.eye(centred.shape[1])
    between, within = _sample_covariances(centred, labels)
    directions: np.ndarray = _eigh(between, within)[1][:, ::-1][:, :kept]
    return directions


def _sample_covariances(centred: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The covariance of the speakers' means, and the covariance within speakers."""
    counts = np.bincount(labels)
    means = _speaker_sums(centred, labels) / counts[:, None]
    rest = centred - means[labels]
    within = rest.T @ rest / len(rest)
    return (means * counts[:, None]).T @ means / len(rest), _regularised(within)


def _fit_covariances(
    centred: np.ndarray, labels: np.ndarray, iterations: int
) -> tuple[np.ndarray, np.ndarray]:
    """The covariances between and within speakers, after ``iterations`` steps of EM."""
    between, within = _sample_covariances(centred, labels)
    counts, sums, scatter = np.bincount(labels), _speaker_sums(centred, labels), centred.T @ centred
    for _ in range(iterations):
        diagonal, basis = _eigh(between, within)
        diagonal = np.maximum(diagonal, 0.0)
        # In this basis, the posterior of a speaker with n utterances has the diagonal covariance
        # d / (1 + n d), and as its mean this covariance times the sum of the utterances.
        variances = diagonal / (1.0 + np.multiply.outer(counts, diagonal))
        back = np.linalg.inv(basis)
        posterior = (variances * (sums @ basis)) @ back
        between = (
            posterior.T @ posterior + back.T @ (variances.sum(axis=0)[:, None] * back)
        ) / len(counts)
        shared = sums.T @ posterior
        spread = (posterior * counts[:, None]).T @ posterior + back.T @ (
            (counts @ variances)[:, None] * back
        )
        within = _regularised((scatter - shared - shared.T + spread) / len(centred))
    return between, within


def _eigh(between: np.ndarray, within: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The generalised eigenvalues, rising, and eigenvectors.

    Raises:
        ScoringError: ``within`` is singular in spite of the ridge.
    """
    from scipy.linalg import LinAlgError, eigh  # takes a quarter of a second to import

    try:
        values, vectors = eigh(between, within)
    except LinAlgError as error:
        raise ScoringError(
            "the utterances of each speaker have the same embedding, so a PLDA cannot be "
            "estimated; expected different recordings of each speaker"
        ) from error
    return values, vectors


def _speaker_sums(vectors: np.ndarray, labels: np.ndarray) -> np.ndarray:
    order = np.argsort(labels, kind="stable")
    starts = np.searchsorted(labels[order], np.arange(labels.max() + 1))
    sums: np.ndarray = np.add.reduceat(vectors[order], starts, axis=0)
    return sums


def _regularised(covariance: np.ndarray) -> np.ndarray:
    symmetric = (covariance + covariance.T) / 2
    regularised: np.ndarray = symmetric + _RIDGE * np.trace(symmetric) / len(symmetric) * np.eye(
        len(symmetric)
    )
    return regularised


def _length_normalised(vectors: np.ndarray) -> np.ndarray:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit: np.ndarray = vectors / np.maximum(lengths, np.finfo(np.float64).tiny)
    return unit
