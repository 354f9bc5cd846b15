"""Calibration: scores, and the quality of what they compare, become log-likelihood ratios by
logistic regression.

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

from vprtrain.errors import UsageError
from vprtrain.files import write_atomic
from vprtrain.scoring.metrics import ScoringError, check_trials
from vprtrain.scoring.trials import Trials

ScoreFeatures = Mapping[str, np.ndarray]
"""float64 ``[trials]`` by name"""

MAX_QUALITY_SECONDS = 20.0
"""More speech than this makes no score more certain (WeSpeaker's bound)"""

_PENALTY = 1e-6  # per trial, on squared weights of standardised features: keeps those of separable classes finite


@dataclass(frozen=True, kw_only=True, eq=False)
class Quality:
    """One measure of each side's recordings."""

    enrolled: np.ndarray
    """float64 ``[len(trials.enroll_ids)]``"""
    tested: np.ndarray
    """float64 ``[len(trials.test_ids)]``"""


def duration_quality(enrolled: ArrayLike, tested: ArrayLike) -> Quality:
    """The logarithm of durations in seconds (above 0), up to :data:`MAX_QUALITY_SECONDS`."""
    sides = [
        np.log(np.minimum(np.asarray(side, dtype=np.float64), MAX_QUALITY_SECONDS))
        for side in (enrolled, tested)
    ]
    return Quality(enrolled=sides[0], tested=sides[1])


def magnitude_quality(enrolled: np.ndarray, tested: np.ndarray) -> Quality:
    """The lengths of embeddings ``[ids, dimension]`` as they are
    (:func:`vprtrain.scoring.cosine.gather_sides`)."""
    return Quality(enrolled=np.linalg.norm(enrolled, axis=1), tested=np.linalg.norm(tested, axis=1))


def build_features(
    scores: ArrayLike, trials: Trials, qualities: Mapping[str, Quality]
) -> dict[str, np.ndarray]:
    """``score``, and for every quality ``<name>_min`` and ``<name>_max`` over a trial's two sides.

    So neither side is preferred: the score of (a, b) stays that of (b, a). The cohort's mean score
    of each side is a quality too: ``Quality(enrolled=statistics.mean, ...)`` of
    :func:`vprtrain.scoring.normalize.cohort_statistics`.
    """
    features = {"score": np.asarray(scores, dtype=np.float64)}
    for name, quality in qualities.items():
        enrolled, tested = quality.enrolled[trials.enroll], quality.tested[trials.test]
        features[f"{name}_min"] = np.minimum(enrolled, tested)
        features[f"{name}_max"] = np.maximum(enrolled, tested)
    return features


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """An affine map of named features to log-likelihood ratios; as JSON in a file."""

    weights: Mapping[str, float]
    bias: float

    def apply(self, features: ScoreFeatures) -> np.ndarray:
        """Natural log-likelihood ratios, float64 ``[trials]``.

        Raises :class:`ScoringError` for other features than those that it was fitted to.
        """
        if set(features) != set(self.weights):
            raise ScoringError(
                f"the calibration is of {sorted(self.weights)}, not of {sorted(features)}"
            )
        llrs: np.ndarray = sum(
            (weight * features[name] for name, weight in self.weights.items()), np.array(self.bias)
        )
        return llrs

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write it as JSON."""
        write_atomic(Path(path), (json.dumps(asdict(self), indent=2) + "\n").encode())

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Calibration:
        """Read what :meth:`save` wrote. Raises :class:`UsageError` where the file is anything
        else."""
        try:
            content = json.loads(Path(path).read_text(encoding="utf-8"))
            weights = {str(name): float(weight) for name, weight in content["weights"].items()}
            bias = float(content["bias"])
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise UsageError(
                f"{path} is not a calibration that vprtrain saved ({error!r})"
            ) from error
        if not all(map(math.isfinite, (bias, *weights.values()))):
            raise UsageError(
                f"{path}: the calibration holds numbers that are not finite; fit it again"
            )
        return cls(weights=weights, bias=bias)


def fit_calibration(
    features: ScoreFeatures, labels: ArrayLike, *, p_target: float = 0.5
) -> Calibration:
    """Fit by logistic regression in which targets weigh ``p_target`` together, whatever their
    number.

    With 0.5 it minimises Cllr. The trials must be of other speakers than those that are evaluated.

    Raises :class:`ScoringError` for labels of one kind and features that are not finite or do not
    vary; ``ValueError`` for a prior outside (0, 1).
    """
    from sklearn.linear_model import LogisticRegression  # takes a second to import

    if not 0 < p_target < 1:
        raise ValueError(f"expected 0 < p_target < 1, not {p_target}")
    same = check_trials(features["score"], labels)[1]
    matrix = np.column_stack([np.asarray(values, dtype=np.float64) for values in features.values()])
    mean, std = matrix.mean(axis=0), matrix.std(axis=0)
    useless = [
        name for name, deviation in zip(features, std, strict=True) if not 0 < deviation < math.inf
    ]
    if useless:
        raise ScoringError(
            f"nothing can be learnt from features that are constant or not finite: {', '.join(useless)}"
        )
    weights = np.where(
        same, p_target / np.count_nonzero(same), (1 - p_target) / np.count_nonzero(~same)
    )
    regression = LogisticRegression(C=1 / _PENALTY, tol=1e-8, max_iter=1000)
    regression.fit((matrix - mean) / std, same, sample_weight=weights)
    slopes = regression.coef_[0] / std
    # The regression gives the logarithm of posterior odds, of which those of the prior are no part
    # of the evidence.
    bias = regression.intercept_[0] - slopes @ mean - math.log(p_target / (1 - p_target))
    return Calibration(weights=dict(zip(features, slopes.tolist(), strict=True)), bias=float(bias))
