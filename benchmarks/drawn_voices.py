"""Embeddings of any number of made-up speakers, drawn as those of a real model lie."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np


@dataclass(frozen=True)
class Voices:
    """The two-covariance model ``embedding = mean + speaker + rest`` of Brümmer and de Villiers,
    "The speaker partitioning problem" (2010): ``speaker ~ N(0, between)``,
    ``rest ~ N(0, within)``."""

    mean: np.ndarray
    """float32 ``[dimension]``."""
    between: np.ndarray
    """float32 ``[dimension, dimension]``: standard normal rows times it are rows of a speaker's
    part."""
    within: np.ndarray
    """float32 ``[dimension, dimension]``, the same for the rest."""

    @classmethod
    def random(cls, dimension: int) -> Voices:
        """Speakers in all directions alike, which is the worst case of an index. Two recordings of
        a speaker have a cosine of about 0.7."""
        unit = np.eye(dimension, dtype=np.float32)
        return cls(np.zeros(dimension, np.float32), unit, np.float32(0.65) * unit)

    @classmethod
    def like(cls, path: Path) -> Voices:
        """Speakers like those of real recordings.

        Args:
            path: an ``.npz`` of ``vprtrain embed --list``, with ids of the form SPEAKER/RECORDING.
        """
        with np.load(path) as file:
            vectors = np.asarray(file["embeddings"], np.float64)
            vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
            speakers = [str(key).rpartition("/")[0] for key in file["keys"]]
        _, labels, counts = np.unique(speakers, return_inverse=True, return_counts=True)
        means = np.stack([vectors[labels == label].mean(axis=0) for label in range(len(counts))])
        rest = vectors - means[labels]
        within = rest.T @ rest / (len(rest) - len(counts))
        # The means of n recordings vary by within / n more than the speakers do.
        between = np.cov(means.T) - within * np.mean(1 / counts)
        return cls(means.mean(axis=0).astype(np.float32), _root(between), _root(within))

    def speakers(self, count: int, rng: np.random.Generator) -> np.ndarray:
        """The centres of new speakers, float32 ``[count, dimension]``."""
        return self.mean + rng.standard_normal((count, len(self.mean)), "float32") @ self.between

    def recordings(self, speakers: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """A recording of each speaker: float32 ``[speakers, dimension]``, of length 1."""
        rest = rng.standard_normal(speakers.shape, "float32") @ self.within
        drawn = speakers + rest
        drawn /= np.linalg.norm(drawn, axis=1, keepdims=True)
        return drawn


def _root(covariance: np.ndarray) -> np.ndarray:
    """A matrix whose transpose times itself is the covariance, without negative variances."""
    variances, directions = np.linalg.eigh(covariance)
    root = np.sqrt(np.maximum(variances, 0))[:, None] * directions.T
    return root.astype(np.float32)
