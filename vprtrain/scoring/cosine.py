"""Cosine scores of trials."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from vprtrain.scoring.metrics import ScoringError
from vprtrain.scoring.trials import Enrollment, Trials

_PAIRS_AT_ONCE = 1 << 16
_DENSE = 8  # a product of all with all may cost so many times the trials, for it is that much faster per score


def score_trials(
    trials: Trials, embeddings: Mapping[str, np.ndarray], enrollment: Enrollment | None = None
) -> np.ndarray:
    """The cosine of every trial's enrolment and test embedding, float64 ``[trials]``.

    ``embeddings`` holds ``[dimension]`` by utterance id. With an ``enrollment``, an enrol id stands for the
    mean of its utterances' embeddings as they are, not normalised to length before (the convention of
    WeSpeaker's CN-Celeb results); without one, for the utterance of that id itself (the concatenated
    enrolment).

    Raises :class:`ScoringError` naming ids without an enrolment or embedding, and embeddings that are zero or
    not finite.
    """
    if enrollment is None:
        enrollment = {enroll_id: (enroll_id,) for enroll_id in trials.enroll_ids}
    _require_all(trials.enroll_ids, enrollment, "enrolment")
    needed = {utterance for enroll_id in trials.enroll_ids for utterance in enrollment[enroll_id]}
    _require_all(sorted(needed.union(trials.test_ids)), embeddings, "embedding")

    means = [np.mean([embeddings[key] for key in enrollment[i]], axis=0, dtype=np.float64) for i in trials.enroll_ids]
    enrolled = _unit_length(np.stack(means), trials.enroll_ids)
    tested = _unit_length(np.stack([embeddings[key] for key in trials.test_ids]), trials.test_ids)
    if len(enrolled) * len(tested) <= _DENSE * len(trials):
        every_pair: np.ndarray = enrolled @ tested.T
        return every_pair[trials.enroll, trials.test]
    scores = np.empty(len(trials))
    for start in range(0, len(trials), _PAIRS_AT_ONCE):
        block = slice(start, start + _PAIRS_AT_ONCE)
        scores[block] = np.einsum("td,td->t", enrolled[trials.enroll[block]], tested[trials.test[block]])
    return scores


def _require_all(wanted: Iterable[str], known: Mapping[str, object], what: str) -> None:
    missing = [key for key in wanted if key not in known]
    if missing:
        raise ScoringError(f"no {what} for {len(missing)} id(s) of the trials: {', '.join(missing[:5])}")


def _unit_length(vectors: np.ndarray, ids: tuple[str, ...]) -> np.ndarray:
    """float64 ``[ids, dimension]``, each of length 1."""
    lengths = np.linalg.norm(vectors.astype(np.float64), axis=1, keepdims=True)
    useless = np.flatnonzero(~np.isfinite(lengths) | (lengths == 0))
    if len(useless):
        names = ", ".join(ids[index] for index in useless[:5])
        raise ScoringError(f"{len(useless)} embedding(s) are zero or not finite: {names}; the model gives no direction")
    unit: np.ndarray = vectors / lengths
    return unit
