from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import multivariate_normal

from vprtrain.errors import RunError, UsageError
from vprtrain.scoring import plda as plda_module
from vprtrain.scoring.cosine import gather_sides, score_trials
from vprtrain.scoring.metrics import compute_eer
from vprtrain.scoring.plda import Plda
from vprtrain.scoring.trials import Trials


def make_speech(
    rng: np.random.Generator, speakers: int, each: int, dimension: int
) -> tuple[np.ndarray, np.ndarray]:
    """Embeddings. Where the variance within speakers is low, that between speakers is high."""
    labels = np.repeat(np.arange(speakers), each)
    scale = np.linspace(0.3, 2, dimension)
    voices = rng.normal(size=(speakers, dimension)) * scale[::-1]
    return voices[labels] + rng.normal(size=(len(labels), dimension)) * scale + 3, labels


def every_pair(count: int, labels: np.ndarray) -> Trials:
    ids = tuple(f"u{number}" for number in range(2 * count))
    places = np.arange(count, dtype=np.int32)
    return Trials(
        enroll_ids=ids[:count],
        test_ids=ids[count:],
        enroll=np.repeat(places, count),
        test=np.tile(places, count),
        targets=np.equal.outer(labels[:count], labels[count:]).ravel(),
    )


@settings(deadline=None, max_examples=20)
@given(lda_dim=st.sampled_from([None, 3]), seed=st.integers(0, 100))
def test_scores_are_the_log_likelihood_ratios_of_the_model(lda_dim: int | None, seed: int) -> None:
    rng = np.random.default_rng(seed)
    plda = Plda.fit(*make_speech(rng, 30, 4, 5), lda_dim=lda_dim)
    vectors = {f"u{number}": rng.normal(size=5) + 3 for number in range(4)}
    trials = every_pair(2, np.arange(4))
    scores = plda.score(trials, gather_sides(trials, vectors))
    # The covariances of the model, transformed back from the diagonal basis.
    back = np.linalg.inv(plda.basis)
    within, between = back.T @ back, back.T @ np.diag(plda.between) @ back
    total, zeros = within + between, np.zeros_like(within)
    for score, enroll, test in zip(scores, trials.enroll, trials.test, strict=True):
        prepared = []
        for name in (f"u{enroll}", f"u{test + 2}"):
            projected = (vectors[name] - plda.center) @ plda.projection
            prepared.append(projected / np.linalg.norm(projected) - plda.mean)
        pair = np.concatenate(prepared)
        same = multivariate_normal(cov=np.block([[total, between], [between, total]])).logpdf(pair)
        other = multivariate_normal(cov=np.block([[total, zeros], [zeros, total]])).logpdf(pair)
        assert score == pytest.approx(same - other, rel=1e-6, abs=1e-6)


def log_likelihood(
    centred: np.ndarray, labels: np.ndarray, between: np.ndarray, within: np.ndarray
) -> float:
    total = 0.0
    for label in np.unique(labels):
        rows = centred[labels == label]
        covariance = np.kron(np.ones((len(rows), len(rows))), between) + np.kron(
            np.eye(len(rows)), within
        )
        total += multivariate_normal(cov=covariance).logpdf(rows.ravel())
    return total


def test_every_step_of_the_fit_raises_the_likelihood() -> None:
    rng = np.random.default_rng(0)
    vectors, labels = make_speech(rng, 25, 6, 3)
    kept = rng.random(len(labels)) < 0.6  # so that speakers differ in their number of utterances
    labels = np.unique(labels[kept], return_inverse=True)[1]
    centred = vectors[kept] - vectors[kept].mean(axis=0)
    steps = [
        log_likelihood(centred, labels, *plda_module._fit_covariances(centred, labels, n))
        for n in range(6)
    ]
    assert np.all(np.diff(steps) > -1e-3) and steps[-1] > steps[0]


def test_the_fit_finds_the_covariances_that_made_the_data() -> None:
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(4000), 4)
    between, within = np.diag([4.0, 1.0]), np.array([[1.0, 0.5], [0.5, 2.0]])
    voices = rng.multivariate_normal(np.zeros(2), between, size=4000)
    rest = rng.multivariate_normal(np.zeros(2), within, size=len(labels))
    found = plda_module._fit_covariances(voices[labels] + rest, labels, 20)
    assert found[0] == pytest.approx(between, abs=0.2)
    assert found[1] == pytest.approx(within, abs=0.1)


@pytest.mark.parametrize("lda_dim", [None, 8])
def test_the_eer_is_lower_than_that_of_the_cosine(lda_dim: int | None) -> None:
    rng = np.random.default_rng(1)
    plda = Plda.fit(*make_speech(rng, 300, 6, 16), lda_dim=lda_dim)
    vectors, labels = make_speech(rng, 100, 4, 16)
    trials = every_pair(200, np.concatenate([labels[::2], labels[1::2]]))
    rows = np.concatenate([vectors[::2], vectors[1::2]])
    embeddings = dict(zip((*trials.enroll_ids, *trials.test_ids), rows, strict=True))
    cosine = compute_eer(score_trials(trials, embeddings, mean=plda.center), trials.targets)[0]
    assert (
        compute_eer(plda.score(trials, gather_sides(trials, embeddings)), trials.targets)[0]
        < 0.8 * cosine
    )


def test_a_saved_plda_gives_the_same_scores(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    plda = Plda.fit(*make_speech(rng, 10, 3, 4))
    plda.save(tmp_path / "plda.npz")
    loaded = Plda.load(tmp_path / "plda.npz")
    vectors = rng.normal(size=(5, 4))
    assert np.array_equal(loaded.transform(vectors), plda.transform(vectors))
    assert [path.name for path in tmp_path.iterdir()] == ["plda.npz"]


def test_other_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "plda.npz"
    with pytest.raises(UsageError, match=r"plda\.npz is not a PLDA"):
        Plda.load(path)
    path.write_bytes(b"junk")
    with pytest.raises(UsageError, match=r"plda\.npz is not a PLDA"):
        Plda.load(path)
    np.savez(path, mean=np.ones(3))
    with pytest.raises(UsageError, match="expected the arrays"):
        Plda.load(path)
    names = ("center", "projection", "mean", "basis", "between")
    np.savez(path, **{name: np.array([{}], dtype=object) for name in names})
    with pytest.raises(UsageError, match="is not a PLDA"):
        Plda.load(path)


@pytest.mark.parametrize(
    ("embeddings", "speakers", "lda_dim", "message"),
    [
        (np.ones((3, 2)), [0, 1, 2], None, "one with several utterances"),
        (np.ones((3, 2)), [0, 0, 0], None, "one with several utterances"),
        (np.ones((4, 2)), [0, 0, 1, 1], None, "different recordings of each speaker"),
        (np.full((3, 2), np.nan), [0, 0, 1], None, "not finite"),
        (np.eye(3), [0, 0, 1], 4, "lda_dim from 1 to the dimension 3"),
        (np.eye(3), [0, 0], None, "a speaker for every row"),
    ],
)
def test_data_that_cannot_be_fitted_is_refused(
    embeddings: np.ndarray, speakers: list[int], lda_dim: int | None, message: str
) -> None:
    with pytest.raises(RunError, match=message):
        Plda.fit(embeddings, speakers, lda_dim=lda_dim)
