"""Back ends: each is what its parts are, is read back to the same bits, and refuses the rest."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from vprtrain.errors import RunError
from vprtrain.scoring import (
    COSINE,
    Backend,
    BackendKind,
    IndexPairs,
    Plda,
    Sides,
    Voices,
    build_cohort,
    compute_eer,
    normalize_scores,
    unit_vectors,
)
from vprtrain.scoring.cosine import cosine
from vprtrain.scoring.thresholds import ScoringError

DIMENSION, SPEAKERS, EACH = 8, 20, 6


def speech(seed: int, spread: float = 0.6) -> tuple[np.ndarray, np.ndarray]:
    """Embeddings of some speakers around a common mean, and their speakers."""
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(SPEAKERS), EACH)
    centers = rng.normal(size=(SPEAKERS, DIMENSION)) + 1
    return centers[labels] + spread * rng.normal(size=(len(labels), DIMENSION)), labels


@pytest.fixture(scope="module")
def backends() -> dict[str, Backend]:
    embeddings, labels = speech(0)
    kinds: tuple[BackendKind, ...] = ("cosine", "as-norm", "plda")
    return {kind: Backend.fit(kind, embeddings, labels, top=7) for kind in kinds}


def all_pairs(count: int) -> IndexPairs:
    return IndexPairs(*np.triu_indices(count, k=1))


def voices(embeddings: np.ndarray, seconds: np.ndarray | None = None) -> Voices:
    return Voices.of(embeddings, range(len(embeddings)), seconds)


def test_the_scores_are_those_of_the_parts(backends: dict[str, Backend]) -> None:
    """All of them take embeddings of length 1, because a voiceprint has no other length."""
    train, labels = speech(0)
    units = unit_vectors(train, range(len(train)))
    test = speech(1)[0] * 17  # a length that must not matter
    pairs, both = all_pairs(len(test)), voices(test)
    expected = [cosine(test[a], test[b], "ab") for a, b in zip(*pairs, strict=True)]
    found = backends["cosine"].score(pairs, both, both)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)

    cohort = build_cohort(units, labels)
    centred = Sides(*[unit_vectors(both.units, range(len(test)), mean=cohort.mean)] * 2)
    products = np.einsum("pd,pd->p", centred.enrolled[pairs.enroll], centred.tested[pairs.test])
    normalised = normalize_scores(products, pairs, centred, cohort, top=7)
    found = backends["as-norm"].score(pairs, both, both)
    np.testing.assert_allclose(found, normalised, rtol=1e-9)

    plda = Plda.fit(units, labels)
    expected = plda.score(pairs, Sides(both.units, both.units))
    np.testing.assert_array_equal(backends["plda"].score(pairs, both, both), expected)


@pytest.mark.parametrize("kind", ["cosine", "as-norm", "plda"])
def test_a_pair_alone_has_its_score_in_either_order(
    backends: dict[str, Backend], kind: str
) -> None:
    test = voices(speech(1)[0])
    first, second = (Voices(*(column[place : place + 1] for column in test)) for place in (3, 50))
    together = backends[kind].score(IndexPairs(np.array([3]), np.array([50])), test, test)
    alone = backends[kind].score(IndexPairs.one_test(1), first, second)
    swapped = backends[kind].score(IndexPairs.one_test(1), second, first)
    np.testing.assert_allclose([alone, swapped], [together, together], rtol=1e-5)  # float32 cohort


def test_a_calibration_by_duration_trusts_short_recordings_less(
    backends: dict[str, Backend],
) -> None:
    """Noise grows as recordings get shorter, and another share of it is common to all speakers."""
    rng = np.random.default_rng(3)
    long, labels = speech(2, spread=0.2)
    seconds = rng.choice([1.0, 4.0, 16.0], size=len(long))
    noisy = long + (rng.normal(size=long.shape) + 2) / seconds[:, None]
    pairs = all_pairs(len(noisy))
    targets = labels[pairs.enroll] == labels[pairs.test]
    both = voices(noisy, seconds)
    plain = backends["cosine"]
    assert plain.is_cosine and not plain.needs_seconds
    calibrated = plain.with_quality(["duration"], pairs, both, both, targets)
    assert calibrated.needs_seconds and not calibrated.is_cosine and calibrated.kind == "cosine"
    scores = calibrated.score(pairs, both, both)
    assert compute_eer(scores, targets)[0] < compute_eer(plain.score(pairs, both, both), targets)[0]
    shorter = calibrated.score(pairs, both, both._replace(seconds=seconds / 8))
    assert (shorter != scores).any()
    unknown = calibrated.score(IndexPairs.one_test(1), voices(noisy[:1]), voices(noisy[1:2]))
    at_20 = [voices(noisy[place : place + 1], np.array([20.0])) for place in (0, 1)]
    assert unknown == calibrated.score(IndexPairs.one_test(1), *at_20)


def test_the_cohort_is_a_quality_measure_of_as_norm_only(backends: dict[str, Backend]) -> None:
    test, labels = speech(1)
    pairs, both = all_pairs(len(test)), voices(test)
    targets = labels[pairs.enroll] == labels[pairs.test]
    found = backends["as-norm"].with_quality(["cohort"], pairs, both, both, targets)
    assert found.quality is not None
    assert list(found.quality.weights) == ["score", "cohort_min", "cohort_max"]
    again = found.with_quality(["cohort"], pairs, both, both, targets)  # not on top of the first
    assert again.record == found.record
    with pytest.raises(ValueError, match="plda has no cohort"):
        backends["plda"].with_quality(["cohort"], pairs, both, both, targets)
    with pytest.raises(RunError, match="constant or not finite: duration_min"):
        backends["plda"].with_quality(["duration"], pairs, both, both, targets)


@pytest.mark.parametrize("kind", ["cosine", "as-norm", "plda"])
@pytest.mark.parametrize("is_calibrated", [False, True])
def test_it_is_read_back_to_the_same_bits(
    backends: dict[str, Backend], kind: str, is_calibrated: bool
) -> None:
    test, labels = speech(1)
    pairs = all_pairs(len(test))
    both = voices(test, np.random.default_rng(0).uniform(1, 9, len(test)))
    backend = backends[kind]
    if is_calibrated:
        targets = labels[pairs.enroll] == labels[pairs.test]
        backend = backend.with_quality(["duration"], pairs, both, both, targets)
    record = json.loads(json.dumps(backend.record))
    found = Backend.read(record, backend.content())
    assert (found.kind, str(found), found.record) == (kind, str(backend), record)
    assert found.dimension == (None if kind == "cosine" else DIMENSION)
    assert (backend.content() is None) == (kind == "cosine")
    np.testing.assert_array_equal(found.score(pairs, both, both), backend.score(pairs, both, both))


def npz(**arrays: Any) -> bytes:
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


VECTORS, MEAN = np.eye(3, 2, dtype=np.float32), np.zeros(2)
AS_NORM = {"kind": "as-norm", "top": 2, "quality": None}


@pytest.mark.parametrize(
    ("record", "content", "said"),
    [
        ("cosine", None, "expected a kind"),
        ({"kind": "lda"}, None, "expected a kind"),
        ({"kind": ["cosine"]}, None, "expected a kind"),
        ({"kind": "cosine", "quality": {"weights": {"score": "x"}, "bias": 0}}, None, "float"),
        ({"kind": "cosine", "quality": {"weights": {"age": 1}, "bias": 0}}, None, "weights"),
        ({"kind": "cosine", "quality": {"weights": {"score": 1e999}, "bias": 0}}, None, "finite"),
        (
            {"kind": "cosine", "quality": {"weights": {"score": 1, "cohort_min": 1}, "bias": 0}},
            *(None, "its quality has the weights"),
        ),
        (AS_NORM, None, "found the arrays"),
        (AS_NORM, b"PK", "zip"),
        (AS_NORM, npz(vectors=VECTORS, mean=np.zeros(3)), "another shape"),
        (AS_NORM, npz(vectors=VECTORS * np.nan, mean=MEAN), "not finite"),
        (AS_NORM, npz(vectors=VECTORS.astype(object), mean=MEAN), "pickle"),
        ({**AS_NORM, "top": 4}, npz(vectors=VECTORS, mean=MEAN), "expected 2 to 3"),
        ({**AS_NORM, "top": True}, npz(vectors=VECTORS, mean=MEAN), "its top is True"),
        ({"kind": "plda"}, npz(vectors=VECTORS, mean=MEAN), "expected the arrays"),
    ],
)
def test_what_a_stranger_wrote_is_refused(record: object, content: bytes | None, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Backend.read(record, content)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("changed", ["between", "basis"])
def test_a_score_that_is_not_finite_is_refused(backends: dict[str, Backend], changed: str) -> None:
    """A stranger's numbers, each of them finite."""
    plda = backends["plda"].plda
    assert plda is not None
    huge = replace(plda, **{changed: np.full_like(getattr(plda, changed), 1e308)})
    both = voices(speech(3)[0][:4])
    with pytest.raises(ScoringError, match="plda gives scores that are not finite"):
        Backend(plda=huge).score(all_pairs(4), both, both)


def test_the_plain_cosine_is_the_default() -> None:
    assert COSINE.is_cosine and COSINE.content() is None and str(COSINE) == "cosine"
    assert COSINE.record == {"kind": "cosine", "quality": None}
