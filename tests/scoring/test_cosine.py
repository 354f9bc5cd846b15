from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vprtrain.errors import RunError
from vprtrain.scoring.cosine import score_trials
from vprtrain.scoring.trials import Trials


def make_trials(pairs: list[tuple[int, int]], enrolments: int, tests: int) -> Trials:
    return Trials(
        enroll_ids=tuple(f"e{index}" for index in range(enrolments)),
        test_ids=tuple(f"t{index}" for index in range(tests)),
        enroll=np.array([enroll for enroll, _ in pairs], dtype=np.int32),
        test=np.array([test for _, test in pairs], dtype=np.int32),
        targets=np.zeros(len(pairs), dtype=bool),
    )


def cosine(first: np.ndarray, second: np.ndarray) -> float:
    return float(first @ second / np.sqrt((first @ first) * (second @ second)))


@settings(deadline=None)
@given(
    # Few trials of many ids are scored pair by pair, many trials of few ids by one matrix product.
    enrolments=st.integers(1, 30),
    tests=st.integers(1, 30),
    count=st.integers(1, 60),
    averaged=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_scores_are_the_cosines(
    enrolments: int, tests: int, count: int, averaged: bool, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    pairs = [(int(rng.integers(enrolments)), int(rng.integers(tests))) for _ in range(count)]
    trials = make_trials(pairs, enrolments, tests)
    enrollment = {
        f"e{index}": (f"u{index}", f"u{index + 1}", f"t{index % tests}")
        for index in range(enrolments)
    }
    names = [
        *trials.enroll_ids,
        *trials.test_ids,
        *(f"u{index}" for index in range(enrolments + 1)),
    ]
    embeddings = {name: rng.normal(size=7).astype(np.float32) for name in names}

    scores = score_trials(trials, embeddings, enrollment if averaged else None)
    for score, (enroll, test) in zip(scores, pairs, strict=True):
        parts = enrollment[f"e{enroll}"] if averaged else (f"e{enroll}",)
        mean = np.mean([embeddings[part].astype(np.float64) for part in parts], axis=0)
        assert score == pytest.approx(
            cosine(mean, embeddings[f"t{test}"].astype(np.float64)), abs=1e-6
        )


def test_the_mean_is_of_embeddings_before_length_normalisation() -> None:
    """A longer embedding has a higher weight in the mean."""
    trials = make_trials([(0, 0)], 1, 1)
    embeddings = {"a": np.array([3.0, 0.0]), "b": np.array([0.0, 1.0]), "t0": np.array([1.0, 0.0])}
    assert score_trials(trials, embeddings, {"e0": ("a", "b")})[0] == pytest.approx(3 / np.sqrt(10))


def test_missing_ids_are_named() -> None:
    trials = make_trials([(0, 0), (1, 0)], 2, 1)
    one = np.ones(3)
    with pytest.raises(RunError, match=r"no enrolment for 1 id\(s\).*e1"):
        score_trials(trials, {"u": one, "t0": one}, {"e0": ("u",)})
    with pytest.raises(RunError, match=r"no embedding for 2 id\(s\).*e1, t0"):
        score_trials(trials, {"e0": one})


@pytest.mark.parametrize("bad", [np.zeros(2), np.array([np.nan, 1.0]), np.array([np.inf, 1.0])])
def test_embeddings_without_a_direction_are_named(bad: np.ndarray) -> None:
    with pytest.raises(RunError, match=r"1 embedding\(s\) are zero or not finite: t0"):
        score_trials(make_trials([(0, 0)], 1, 1), {"e0": np.ones(2), "t0": bad})
