"""The back end of a model: what makes a score of two embeddings.

The plain one is the cosine. Others know other speakers: adaptive score normalisation by a cohort
(:mod:`vprtrain.scoring.normalize`), or PLDA (:mod:`vprtrain.scoring.plda`). Each may be followed by
a calibration with quality measures (:mod:`vprtrain.scoring.calibrate`), which makes the score a
log-likelihood ratio that a short recording moves towards 0. A threshold belongs to the back end
that it was found with; a checkpoint holds both.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import ArrayLike

from vprtrain.errors import shown
from vprtrain.scoring.calibrate import (
    MAX_QUALITY_SECONDS,
    Calibration,
    Quality,
    build_features,
    duration_quality,
    fit_calibration,
)
from vprtrain.scoring.cosine import Pairs, Sides, dot_products, unit_vectors
from vprtrain.scoring.normalize import (
    DEFAULT_TOP,
    Cohort,
    build_cohort,
    cohort_statistics,
    symmetric_norm,
)
from vprtrain.scoring.npz import npz_arrays
from vprtrain.scoring.plda import Plda
from vprtrain.scoring.thresholds import ScoringError

BackendKind = Literal["cosine", "as-norm", "plda"]
"""What comes before a calibration: the cosine, the cosine normalised by a cohort, or PLDA."""
QualityName = Literal["duration", "cohort"]
"""Log seconds of the shorter side; the mean score of the nearest cohort speakers of each side."""

_FEATURES: dict[str, tuple[str, ...]] = {
    "duration": ("duration_min",),
    "cohort": ("cohort_min", "cohort_max"),
}


class Voices(NamedTuple):
    """Embeddings as a back end takes them."""

    units: np.ndarray
    """float64 ``[voices, dimension]``, each of length 1. A voiceprint keeps no other length."""
    seconds: np.ndarray
    """float64 ``[voices]``, of speech. Where they are not known, as of a voiceprint, they are
    :data:`vprtrain.scoring.calibrate.MAX_QUALITY_SECONDS`: it is never the shorter side."""

    @classmethod
    def of(
        cls, embeddings: ArrayLike, names: Iterable[object], seconds: ArrayLike | None = None
    ) -> Voices:
        """The voices of embeddings ``[voices, dimension]`` of any length.

        Args:
            names: for the message of an error.
            seconds: ``[voices]``; ``None`` if they are not known.

        Raises:
            ScoringError: an embedding is zero or not finite.
        """
        units = unit_vectors(np.asarray(embeddings), names)
        known = np.full(len(units), MAX_QUALITY_SECONDS) if seconds is None else seconds
        return cls(units, np.asarray(known, np.float64))


class IndexPairs(NamedTuple):
    """Pairs of voices by their indices (:class:`vprtrain.scoring.cosine.Pairs`)."""

    enroll: np.ndarray
    test: np.ndarray

    @classmethod
    def one_test(cls, enrolments: int) -> IndexPairs:
        """The pairs of so many enrolments with one test utterance."""
        return cls(np.arange(enrolments), np.zeros(enrolments, np.int64))


@dataclass(frozen=True, kw_only=True, eq=False)
class Backend:
    """A back end. Without arguments it is the plain cosine.

    :meth:`fit` estimates one, :meth:`read` reads what :attr:`record` and :meth:`content` give.

    Raises:
        ValueError: it has both a cohort and a PLDA.
    """

    cohort: Cohort | None = None
    """For ``as-norm``."""
    top: int = DEFAULT_TOP
    """The number of nearest cohort speakers."""
    plda: Plda | None = None
    """For ``plda``."""
    quality: Calibration | None = None
    """From the score and quality measures to a natural log-likelihood ratio."""

    def __post_init__(self) -> None:
        if self.cohort is not None and self.plda is not None:
            raise ValueError("a back end has a cohort or a PLDA, not both")

    @classmethod
    def fit(
        cls,
        kind: BackendKind,
        embeddings: np.ndarray,
        speakers: ArrayLike,
        *,
        top: int = DEFAULT_TOP,
        lda_dim: int | None = None,
    ) -> Backend:
        """Estimate a back end from embeddings of many speakers.

        Args:
            embeddings: ``[utterances, dimension]``.
            speakers: ``[utterances]``, labels of any type.
            top: the number of nearest cohort speakers; at most all.
            lda_dim: as of :meth:`vprtrain.scoring.plda.Plda.fit`.

        Raises:
            ScoringError: there are too few speakers or utterances, or embeddings cannot be used.
        """
        if kind == "cosine":
            return cls()
        names = np.asarray(speakers)
        units = unit_vectors(embeddings, (f"one of {name}" for name in names))
        if kind == "plda":
            return cls(plda=Plda.fit(units, names, lda_dim=lda_dim))
        cohort = build_cohort(units, names)
        return cls(cohort=cohort, top=min(top, len(cohort.vectors)))

    @property
    def kind(self) -> BackendKind:
        """What comes before the calibration."""
        if self.plda is not None:
            return "plda"
        return "cosine" if self.cohort is None else "as-norm"

    @property
    def is_cosine(self) -> bool:
        """Whether the score is the plain cosine."""
        return self.kind == "cosine" and self.quality is None

    @property
    def name(self) -> str:
        """``cosine``, ``as-norm`` or ``plda``, and ``, calibrated`` after it if it is."""
        return self.kind if self.quality is None else f"{self.kind}, calibrated"

    def __str__(self) -> str:
        """The back end for a person."""
        said: str = self.kind
        if self.cohort is not None:
            said += f" (top {self.top} of {len(self.cohort.vectors):,} speakers)"
        if self.quality is not None:
            measures = [name for name in self.quality.weights if name != "score"]
            said += f", calibrated with {', '.join(measures) or 'the score alone'}"
        return said

    @property
    def needs_seconds(self) -> bool:
        """Whether the score depends on how much speech there is."""
        return self.quality is not None and not self.quality.weights.keys().isdisjoint(
            _FEATURES["duration"]
        )

    @property
    def dimension(self) -> int | None:
        """The number of values of the embeddings; ``None`` for any."""
        if self.plda is not None:
            return len(self.plda.center)
        return None if self.cohort is None else len(self.cohort.mean)

    def score(self, pairs: Pairs, enrolled: Voices, tested: Voices) -> np.ndarray:
        """The score of every pair, float64 ``[pairs]``: the higher, the more alike the voices.

        Raises:
            ScoringError: as :func:`vprtrain.scoring.normalize.cohort_statistics`, or a score is not
                finite.
        """
        with np.errstate(over="ignore", invalid="ignore"):
            features = self._features(pairs, enrolled, tested)
            scores = (
                features["score"]
                if self.quality is None
                else self.quality.apply({name: features[name] for name in self.quality.weights})
            )
        if not np.isfinite(scores).all():
            raise ScoringError(
                f"the back end {self.name} gives scores that are not finite: calibrate the model "
                "again (vprtrain calibrate)"
            )
        return scores

    def with_quality(
        self,
        measures: Sequence[QualityName],
        pairs: Pairs,
        enrolled: Voices,
        tested: Voices,
        targets: ArrayLike,
    ) -> Backend:
        """This back end with a calibration by quality measures, fitted on these pairs.

        Args:
            measures: the quality measures; "cohort" needs one.
            targets: bool ``[pairs]``, true for the same speaker.

        Raises:
            ScoringError: as :func:`vprtrain.scoring.calibrate.fit_calibration`.
            ValueError: there is no cohort for the measure "cohort".
        """
        if "cohort" in measures and self.cohort is None:
            raise ValueError(f"the back end {self.kind} has no cohort to measure a quality with")
        features = self._features(pairs, enrolled, tested)
        names = ["score", *(feature for each in measures for feature in _FEATURES[each])]
        return replace(
            self, quality=fit_calibration({name: features[name] for name in names}, targets)
        )

    @property
    def record(self) -> dict[str, Any]:
        """What ``model.state`` says of the back end (JSON values)."""
        quality = self.quality
        return {
            "kind": self.kind,
            **(
                {} if self.cohort is None else {"top": self.top, "cohort": len(self.cohort.vectors)}
            ),
            "quality": None
            if quality is None
            else {"weights": dict(quality.weights), "bias": quality.bias},
        }

    def content(self) -> bytes | None:
        """The arrays, as a file of :func:`numpy.savez`; ``None`` without any."""
        arrays: Mapping[str, np.ndarray] = {}
        if self.cohort is not None:
            arrays = self.cohort._asdict()
        elif self.plda is not None:
            arrays = {each.name: getattr(self.plda, each.name) for each in fields(self.plda)}
        if not arrays:
            return None
        file = io.BytesIO()
        np.savez(file, allow_pickle=False, **arrays)
        return file.getvalue()

    @classmethod
    def read(cls, record: object, content: bytes | None) -> Backend:
        """The back end of a :attr:`record` and a :meth:`content`, which may come from a stranger.

        Raises:
            ValueError: they are something else; the message says why.
        """
        if not isinstance(record, dict) or record.get("kind") not in get_args(BackendKind):
            raise ValueError(f"found {shown(record)}, expected a kind and a quality")
        kind: BackendKind = record["kind"]
        quality = record.get("quality")
        arrays = {} if content is None else npz_arrays(content)
        calibration = None if quality is None else Calibration.of(quality)
        measures = _FEATURES if kind == "as-norm" else {**_FEATURES, "cohort": ()}
        known = {"score", *(name for names in measures.values() for name in names)}
        if calibration is not None and not {"score"} <= calibration.weights.keys() <= known:
            raise ValueError(f"its quality has the weights {shown(sorted(calibration.weights))}")
        if kind == "plda":
            return cls(plda=Plda.of(arrays), quality=calibration)
        if kind == "cosine":
            return cls(quality=calibration)
        cohort, top = _cohort(arrays), record.get("top")
        if type(top) is not int or not 2 <= top <= len(cohort.vectors):
            raise ValueError(f"its top is {shown(top)}, expected 2 to {len(cohort.vectors)}")
        return cls(cohort=cohort, top=top, quality=calibration)

    def _features(self, pairs: Pairs, enrolled: Voices, tested: Voices) -> dict[str, np.ndarray]:
        """The score before any calibration, and the quality measures."""
        sides = Sides(enrolled.units, tested.units)
        qualities = {"duration": duration_quality(enrolled.seconds, tested.seconds)}
        if self.plda is not None:
            return build_features(self.plda.score(pairs, sides), pairs, qualities)
        if self.cohort is None:
            return build_features(dot_products(pairs, sides), pairs, qualities)
        sides = Sides(
            *(unit_vectors(side, range(len(side)), mean=self.cohort.mean) for side in sides)
        )
        statistics = [cohort_statistics(side, self.cohort, top=self.top) for side in sides]
        scores = symmetric_norm(dot_products(pairs, sides), pairs, *statistics)
        qualities["cohort"] = Quality(enrolled=statistics[0].mean, tested=statistics[1].mean)
        return build_features(scores, pairs, qualities)


def _cohort(arrays: Mapping[str, np.ndarray]) -> Cohort:
    if set(arrays) != set(Cohort._fields):
        raise ValueError(f"found the arrays {shown(sorted(arrays))}, expected {Cohort._fields}")
    vectors, mean = arrays["vectors"], arrays["mean"]
    if (
        vectors.ndim != 2
        or (vectors.dtype.name, mean.dtype.name) != ("float32", "float64")
        or mean.shape != vectors.shape[1:]
        or len(vectors) < 2
        or not (np.isfinite(vectors).all() and np.isfinite(mean).all())
    ):
        raise ValueError("its cohort has another shape or type, or numbers that are not finite")
    return Cohort(vectors, mean)


COSINE = Backend()
"""The plain cosine."""
