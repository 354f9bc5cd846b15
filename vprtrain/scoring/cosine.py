"""Cosine scores of trials."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple, Protocol

import numpy as np

from vprtrain.scoring.thresholds import ScoringError
from vprtrain.scoring.trials import Enrollment, Trials

_PAIRS_AT_ONCE = 1 << 12
_DENSE = 8
"""The matrix product of all pairs is about this many times as fast per score as single pairs. So it
is used if it computes at most this many times the scores that are needed."""


class Pairs(Protocol):
    """Which vectors are compared, as :class:`vprtrain.scoring.trials.Trials` say it."""

    @property
    def enroll(self) -> np.ndarray:
        """Whole numbers ``[pairs]``, indices of the enrolments."""

    @property
    def test(self) -> np.ndarray:
        """Whole numbers ``[pairs]``, indices of the test utterances."""


class Sides(NamedTuple):
    """The vectors of both sides of all trials, one in each row.

    Those of a trial are at its indices in ``Trials.enroll`` and ``Trials.test``.
    """

    enrolled: np.ndarray
    """float64 ``[len(trials.enroll_ids), dimension]``."""
    tested: np.ndarray
    """float64 ``[len(trials.test_ids), dimension]``."""


def score_trials(
    trials: Trials,
    embeddings: Mapping[str, np.ndarray],
    enrollment: Enrollment | None = None,
    *,
    mean: np.ndarray | None = None,
) -> np.ndarray:
    """The cosine between the enrolment and the test embedding of every trial, float64 ``[trials]``.

    Args:
        embeddings: ``[dimension]`` by utterance id.
        enrollment: the utterances of each enrol id. An enrolment is the mean of their embeddings,
            which are not length-normalised before (the convention of WeSpeaker's CN-Celeb results).
            ``None``: an enrol id is itself an utterance (the concatenated enrolment).
        mean: ``[dimension]``, the mean of the training embeddings, subtracted from all vectors
            first ("sub-mean"); ``None`` subtracts nothing.

    Raises:
        ScoringError: an id has no enrolment or no embedding, or an embedding is zero or not finite.
            The message names the ids.
    """
    return dot_products(trials, unit_sides(trials, embeddings, enrollment, mean=mean))


def gather_sides(
    trials: Trials, embeddings: Mapping[str, np.ndarray], enrollment: Enrollment | None = None
) -> Sides:
    """The embeddings of both sides before length normalisation. Arguments and errors for missing
    ids are those of :func:`score_trials`."""
    if enrollment is None:
        _require_all({*trials.enroll_ids, *trials.test_ids}, embeddings, "embedding")
        return Sides(_stack(trials.enroll_ids, embeddings), _stack(trials.test_ids, embeddings))
    _require_all(trials.enroll_ids, enrollment, "enrolment")
    needed = {utterance for enroll_id in trials.enroll_ids for utterance in enrollment[enroll_id]}
    _require_all(needed.union(trials.test_ids), embeddings, "embedding")
    means = [
        np.mean([embeddings[key] for key in enrollment[i]], axis=0, dtype=np.float64)
        for i in trials.enroll_ids
    ]
    return Sides(np.stack(means), _stack(trials.test_ids, embeddings))


def unit_sides(
    trials: Trials,
    embeddings: Mapping[str, np.ndarray],
    enrollment: Enrollment | None = None,
    *,
    mean: np.ndarray | None = None,
) -> Sides:
    """The vectors of length 1 whose dot products are the scores of :func:`score_trials`. Arguments
    and errors are those of :func:`score_trials`."""
    enrolled, tested = gather_sides(trials, embeddings, enrollment)
    return Sides(
        unit_vectors(enrolled, trials.enroll_ids, mean=mean),
        unit_vectors(tested, trials.test_ids, mean=mean),
    )


def dot_products(pairs: Pairs, sides: Sides) -> np.ndarray:
    """The dot product of the two vectors of every pair, float64 ``[pairs]``."""
    enrolled, tested = sides
    count = len(pairs.enroll)
    if len(enrolled) * len(tested) <= _DENSE * count:
        every_pair: np.ndarray = enrolled @ tested.T
        return every_pair[pairs.enroll, pairs.test]
    scores = np.empty(count)
    for start in range(0, count, _PAIRS_AT_ONCE):
        block = slice(start, start + _PAIRS_AT_ONCE)
        scores[block] = np.einsum(
            "td,td->t", enrolled[pairs.enroll[block]], tested[pairs.test[block]]
        )
    return scores


def cosine(a: np.ndarray, b: np.ndarray, names: Iterable[object]) -> float:
    """The cosine of two embeddings ``[dimension]``, from -1 to 1.

    Args:
        names: of both, for the message of an error.

    Raises:
        ScoringError: an embedding is zero or not finite.
    """
    first, second = unit_vectors(np.stack([a, b]), names)
    return min(max(float(first @ second), -1.0), 1.0)


def unit_vectors(
    vectors: np.ndarray, ids: Iterable[object], *, mean: np.ndarray | None = None
) -> np.ndarray:
    """The vectors, each scaled to length 1, float64 ``[ids, dimension]``.

    Args:
        vectors: ``[ids, dimension]``.
        ids: their names, for the message of an error.
        mean: ``[dimension]``, subtracted before the scaling; ``None`` subtracts nothing.

    Raises:
        ScoringError: a vector is zero or not finite. The message names the ids.
    """
    centred = (
        vectors.astype(np.float64) if mean is None else np.subtract(vectors, mean, dtype=np.float64)
    )
    lengths = np.sqrt(np.einsum("vd,vd->v", centred, centred))[:, None]
    useless = np.flatnonzero(~np.isfinite(lengths) | (lengths == 0))
    if len(useless):
        known = list(ids)
        names = ", ".join(str(known[index]) for index in useless[:5])
        raise ScoringError(
            f"{len(useless)} embedding(s) are zero or not finite: {names}; use another checkpoint, "
            "or leave these recordings out"
        )
    centred /= lengths
    return centred


def _stack(ids: tuple[str, ...], embeddings: Mapping[str, np.ndarray]) -> np.ndarray:
    return np.stack([embeddings[key] for key in ids], dtype=np.float64)


def _require_all(wanted: Iterable[str], known: Mapping[str, object], what: str) -> None:
    missing = sorted(key for key in set(wanted) if key not in known)
    if missing:
        raise ScoringError(
            f"no {what} for {len(missing)} id(s) of the trials: {', '.join(missing[:5])}"
        )
