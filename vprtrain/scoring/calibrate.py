"""Calibration: logistic regression from scores and quality measures to log-likelihood ratios.

Quality measure functions: Thienpondt, Desplanques and Demuynck, "The IDLab VoxSRC-20 submission:
large margin fine-tuning and quality-aware score calibration in DNN based speaker verification"
(2021).
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from vprtrain.errors import UsageError, cause, shown
from vprtrain.files import parse_json, read_file, write_atomic
from vprtrain.scoring.cosine import Pairs
from vprtrain.scoring.thresholds import ScoringError, check_trials

ScoreFeatures = Mapping[str, np.ndarray]
"""float64 ``[trials]`` by name."""

MAX_QUALITY_SECONDS = 20.0
"""More speech than this does not make a score more certain (the bound of WeSpeaker)."""

_MOST_BYTES = 1 << 20
"""Of a saved calibration."""

_PENALTY = 1e-6
"""Per trial, on the squared weights of standardised features. It keeps the weights finite if the
classes are separable."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Quality:
    """A quality measure of the enrolments and of the test utterances."""

    enrolled: np.ndarray
    """float64 ``[len(trials.enroll_ids)]``."""
    tested: np.ndarray
    """float64 ``[len(trials.test_ids)]``."""


def duration_quality(enrolled: ArrayLike, tested: ArrayLike) -> Quality:
    """The logarithm of durations in seconds (above 0), at most :data:`MAX_QUALITY_SECONDS`."""
    sides = [
        np.log(np.minimum(np.asarray(side, dtype=np.float64), MAX_QUALITY_SECONDS))
        for side in (enrolled, tested)
    ]
    return Quality(enrolled=sides[0], tested=sides[1])


def magnitude_quality(enrolled: np.ndarray, tested: np.ndarray) -> Quality:
    """The lengths of embeddings ``[ids, dimension]`` before length normalisation, as from
    :func:`vprtrain.scoring.cosine.gather_sides`."""
    return Quality(enrolled=np.linalg.norm(enrolled, axis=1), tested=np.linalg.norm(tested, axis=1))


def build_features(
    scores: ArrayLike, pairs: Pairs, qualities: Mapping[str, Quality]
) -> dict[str, np.ndarray]:
    """The features ``score``, and ``<name>_min`` and ``<name>_max`` for each quality measure.

    Minimum and maximum are over a pair's two sides, so that the trials (a, b) and (b, a) keep the
    same score. The mean score of the cohort against each side is a quality measure too:
    ``Quality(enrolled=statistics.mean, ...)`` of
    :func:`vprtrain.scoring.normalize.cohort_statistics`.
    """
    features = {"score": np.asarray(scores, dtype=np.float64)}
    for name, quality in qualities.items():
        enrolled, tested = quality.enrolled[pairs.enroll], quality.tested[pairs.test]
        features[f"{name}_min"] = np.minimum(enrolled, tested)
        features[f"{name}_max"] = np.maximum(enrolled, tested)
    return features


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """An affine map from named features to log-likelihood ratios. It is saved as JSON."""

    weights: Mapping[str, float]
    bias: float

    def apply(self, features: ScoreFeatures) -> np.ndarray:
        """Natural log-likelihood ratios, float64 ``[trials]``.

        Raises:
            ScoringError: the features are not those of the fit.
        """
        if set(features) != set(self.weights):
            raise ScoringError(
                f"the calibration has the features {sorted(self.weights)}, found {sorted(features)}"
            )
        llrs: np.ndarray = sum(
            (weight * features[name] for name, weight in self.weights.items()), np.array(self.bias)
        )
        return llrs

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the calibration as JSON."""
        write_atomic(Path(path), (json.dumps(asdict(self), indent=2) + "\n").encode())

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Calibration:
        """Read a file that :meth:`save` wrote.

        Raises:
            UsageError: the file is something else.
        """
        try:
            return cls.of(parse_json(read_file(path, _MOST_BYTES), float))
        except (OSError, ValueError) as error:
            raise UsageError(
                f"{path} is not a calibration that vprtrain saved ({cause(error)})"
            ) from error

    @classmethod
    def of(cls, content: object) -> Calibration:
        """The calibration of a JSON object.

        Raises:
            ValueError: it is something else, or has numbers that are not finite.
        """
        try:
            if not isinstance(content, dict) or not isinstance(content.get("weights"), dict):
                raise ValueError(f"found {shown(content)}")
            weights = {name: float(weight) for name, weight in content["weights"].items()}
            bias = float(content["bias"])
        except (KeyError, TypeError, OverflowError) as error:
            raise ValueError(cause(error)) from error
        if not all(map(math.isfinite, (bias, *weights.values()))):
            raise ValueError("some numbers are not finite; fit it again")
        return cls(weights=weights, bias=bias)


def fit_calibration(
    features: ScoreFeatures, labels: ArrayLike, *, p_target: float = 0.5
) -> Calibration:
    """Fit a calibration by logistic regression.

    The speakers of these trials must not be among those that are evaluated.

    Args:
        features: from :func:`build_features`.
        labels: ``[trials]``, true or 1 for target trials.
        p_target: the total weight of the target trials, whatever their number. With 0.5 the fit
            minimises Cllr.

    Raises:
        ScoringError: all labels are of one kind, or a feature is constant or not finite.
        ValueError: ``p_target`` is not between 0 and 1.
    """
    from sklearn.linear_model import LogisticRegression  # takes a second to import

    if not 0 < p_target < 1:
        raise ValueError(f"expected 0 < p_target < 1, found {p_target}")
    same = check_trials(features["score"], labels)[1]
    matrix = np.column_stack([np.asarray(values, dtype=np.float64) for values in features.values()])
    mean, std = matrix.mean(axis=0), matrix.std(axis=0)
    varies = (matrix.min(axis=0) < matrix.max(axis=0)) & np.isfinite(std)
    useless = [name for name, is_useful in zip(features, varies, strict=True) if not is_useful]
    if useless:
        raise ScoringError(
            f"features must vary and be finite; constant or not finite: {', '.join(useless)}"
        )
    weights = np.where(
        same, p_target / np.count_nonzero(same), (1 - p_target) / np.count_nonzero(~same)
    )
    regression = LogisticRegression(C=1 / _PENALTY, tol=1e-8, max_iter=1000)
    regression.fit((matrix - mean) / std, same, sample_weight=weights)
    slopes = regression.coef_[0] / std
    # The regression gives the logarithm of the posterior odds. Without the prior odds, it is the
    # log-likelihood ratio.
    bias = regression.intercept_[0] - slopes @ mean - math.log(p_target / (1 - p_target))
    return Calibration(weights=dict(zip(features, slopes.tolist(), strict=True)), bias=float(bias))
