from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vprtrain.errors import RunError
from vprtrain.scoring import normalize
from vprtrain.scoring.cosine import dot_products, score_trials, unit_sides
from vprtrain.scoring.metrics import compute_eer
from vprtrain.scoring.normalize import Norm, build_cohort, cohort_statistics, normalize_scores
from vprtrain.scoring.trials import Trials

DIMENSION = 6


def every_pair(enrolments: int, tests: int) -> Trials:
    return Trials(
        enroll_ids=tuple(f"e{number}" for number in range(enrolments)),
        test_ids=tuple(f"t{number}" for number in range(tests)),
        enroll=np.repeat(np.arange(enrolments, dtype=np.int32), tests),
        test=np.tile(np.arange(tests, dtype=np.int32), enrolments),
        targets=np.equal.outer(np.arange(enrolments), np.arange(tests) % enrolments).ravel(),
    )


def cosine(first: np.ndarray, second: np.ndarray) -> float:
    return float(first @ second / np.linalg.norm(first) / np.linalg.norm(second))


@settings(deadline=None, max_examples=40)
@given(
    norm=st.sampled_from(["z-norm", "s-norm", "as-norm"]),
    top=st.integers(2, 12),
    seed=st.integers(0, 1000),
)
def test_normalised_scores_equal_the_definition(norm: Norm, top: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    trials = every_pair(3, 5)
    vectors = {
        name: rng.normal(size=DIMENSION).astype(np.float32)
        for name in (*trials.enroll_ids, *trials.test_ids)
    }
    speakers = np.array(["a", "b", "c", "d", "e", "f", "g", "h", "b", "c", "c"])
    training = rng.normal(size=(len(speakers), DIMENSION)) + 1

    cohort = build_cohort(training, speakers)
    sides = unit_sides(trials, vectors, mean=cohort.mean)
    found = normalize_scores(dot_products(trials, sides), trials, sides, cohort, norm=norm, top=top)

    mean = training.mean(axis=0)
    others = [training[speakers == name].mean(axis=0) - mean for name in np.unique(speakers)]
    standardised = []
    for enroll, test in zip(trials.enroll, trials.test, strict=True):
        first, second = vectors[f"e{enroll}"] - mean, vectors[f"t{test}"] - mean
        parts = []
        for side in (first, second):
            against = sorted(cosine(side, other) for other in others)[
                -top if norm == "as-norm" else 0 :
            ]
            parts.append((cosine(first, second) - np.mean(against)) / np.std(against))
        standardised.append(parts[0] if norm == "z-norm" else np.mean(parts))
    assert found == pytest.approx(np.array(standardised), rel=1e-3, abs=1e-3)


def test_the_block_size_does_not_change_the_statistics(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    cohort = build_cohort(rng.normal(size=(40, DIMENSION)), np.arange(40))
    vectors = rng.normal(size=(23, DIMENSION))
    whole = cohort_statistics(vectors, cohort, top=7)
    monkeypatch.setattr(normalize, "_BLOCK_BYTES", 4 * 40 * 5)
    blocks = cohort_statistics(vectors, cohort, top=7)
    assert blocks.mean == pytest.approx(whole.mean, rel=1e-6) and blocks.std == pytest.approx(
        whole.std, rel=1e-5
    )


def test_as_norm_helps_if_some_speakers_have_more_similar_speakers() -> None:
    """Some speakers, and a part of the cohort, share a direction that raises their scores."""
    rng = np.random.default_rng(0)
    trials = every_pair(60, 240)
    voices, shared = rng.normal(size=(60, 20)), 2 * rng.normal(size=20)
    vectors = {f"e{n}": voices[n] + rng.normal(size=20) + shared * (n % 2) for n in range(60)}
    vectors |= {
        f"t{n}": voices[n % 60] + rng.normal(size=20) + shared * (n % 2) for n in range(240)
    }
    training = rng.normal(size=(400, 20)) + shared * (np.arange(400) % 10 == 0)[:, None]
    cohort = build_cohort(training, np.arange(400))
    sides = unit_sides(trials, vectors, mean=cohort.mean)
    plain = score_trials(trials, vectors, mean=cohort.mean)
    eer = compute_eer(plain, trials.targets)[0]
    normalised = normalize_scores(plain, trials, sides, cohort, top=30)
    assert compute_eer(normalised, trials.targets)[0] < 0.9 * eer


def test_cohorts_that_cannot_normalise_are_refused() -> None:
    rng = np.random.default_rng(0)
    with pytest.raises(RunError, match="at least two"):
        build_cohort(rng.normal(size=(3, 4)), ["a", "a", "a"])
    with pytest.raises(RunError, match=r"2 embedding\(s\) are zero or not finite: a, b"):
        build_cohort(np.ones((2, 4)), ["a", "b"])
    cohort = build_cohort(rng.normal(size=(5, 4)), np.arange(5))
    with pytest.raises(RunError, match="top 2"):
        cohort_statistics(np.ones((1, 4)), cohort, top=1)
    same = cohort._replace(vectors=np.ones((5, 4), dtype=np.float32) / 2)
    for top in (None, 2):
        with pytest.raises(RunError, match="have the same score against every speaker"):
            cohort_statistics(np.eye(4), same, top=top)
