from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vprtrain.errors import RunError
from vprtrain.scoring.bootstrap import bootstrap_intervals, trial_speakers
from vprtrain.scoring.metrics import compute_eer, compute_min_dcf
from vprtrain.scoring.trials import Trials

pytestmark = pytest.mark.filterwarnings("ignore::vprtrain.scoring.metrics.ScoringWarning")


def make_scores(
    rng: np.random.Generator, speakers: int, each: int, ties: bool
) -> tuple[np.ndarray, ...]:
    """Scores, labels, enrolment speakers and test speakers of all pairs.

    Some speakers are easier to recognise than others.
    """
    speaker = np.repeat(np.arange(speakers), each)
    enroll, test = (side.ravel() for side in np.meshgrid(speaker, speaker, indexing="ij"))
    labels = enroll == test
    scores = (
        rng.normal(size=len(labels))
        + labels * rng.uniform(0, 4)
        + rng.normal(size=speakers)[enroll]
    )
    return (np.round(scores) if ties else scores), labels, enroll, test


def brute_force(
    scores: np.ndarray, labels: np.ndarray, enroll: np.ndarray, test: np.ndarray, seed: int, n: int
) -> np.ndarray:
    """EER and minDCF of ``n`` draws, with each trial repeated by its weight."""
    speakers, rows = int(max(enroll.max(), test.max())) + 1, []
    for number in range(n):
        drawn = np.random.default_rng((seed, number)).integers(speakers, size=speakers).tolist()
        times = [
            drawn.count(a) if a == b else drawn.count(a) * drawn.count(b)
            for a, b in zip(enroll.tolist(), test.tolist(), strict=True)
        ]
        repeated, same = np.repeat(scores, times), np.repeat(labels, times)
        if same.any() and not same.all():
            rows.append(
                (
                    compute_eer(repeated, same)[0],
                    *(compute_min_dcf(repeated, same, p) for p in (0.01, 0.9)),
                )
            )
    return np.quantile(rows, [0.025, 0.975], axis=0).T


@settings(deadline=None, max_examples=30)
@given(
    speakers=st.integers(4, 8),
    each=st.integers(1, 3),
    ties=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_intervals_equal_repeating_the_trials(
    speakers: int, each: int, ties: bool, seed: int
) -> None:
    trials = make_scores(np.random.default_rng(seed), speakers, each, ties)
    found = bootstrap_intervals(*trials, seed=seed, replicates=20, p_targets=(0.01, 0.9))
    expected = brute_force(*trials, seed, 20)
    assert np.array([found.eer, found.min_dcf[0.01], found.min_dcf[0.9]]) == pytest.approx(
        expected, abs=1e-12
    )
    assert found.speakers == speakers


def test_a_seed_gives_the_same_intervals_and_confidence_widens_them() -> None:
    trials = make_scores(np.random.default_rng(3), 12, 3, False)
    first = bootstrap_intervals(*trials, seed=1, replicates=200)
    assert first == bootstrap_intervals(*trials, seed=1, replicates=200)
    assert first != bootstrap_intervals(*trials, seed=2, replicates=200)
    eer = compute_eer(*trials[:2])[0]
    narrow = bootstrap_intervals(*trials, seed=1, replicates=200, confidence=0.5)
    assert first.eer.low < narrow.eer.low < eer < narrow.eer.high < first.eer.high


def test_too_few_speakers_are_refused() -> None:
    with pytest.raises(RunError, match="too few speakers"):
        bootstrap_intervals([0.1, 0.2], [1, 0], [5, 6], [5, 7], replicates=50)
    with pytest.raises(RunError, match="two speakers for each trial"):
        bootstrap_intervals([0.1, 0.2], [1, 0], [1], [1])


@pytest.mark.parametrize(
    "arguments", [{"replicates": 0}, {"confidence": 1.0}, {"p_targets": (0.0,)}]
)
def test_arguments_out_of_range_are_refused(arguments: dict) -> None:
    with pytest.raises(ValueError, match="expected"):
        bootstrap_intervals([0.1, 0.2], [1, 0], [0, 0], [0, 1], **arguments)


def make_trials(rows: list[tuple[str, str, bool]]) -> Trials:
    enroll_ids = tuple(dict.fromkeys(enroll for enroll, _, _ in rows))
    test_ids = tuple(dict.fromkeys(test for _, test, _ in rows))
    return Trials(
        enroll_ids=enroll_ids,
        test_ids=test_ids,
        enroll=np.array([enroll_ids.index(enroll) for enroll, _, _ in rows], dtype=np.int32),
        test=np.array([test_ids.index(test) for _, test, _ in rows], dtype=np.int32),
        targets=np.array([target for _, _, target in rows]),
    )


def test_target_trials_link_ids_to_speakers() -> None:
    """b and c are one speaker although no trial compares them; both are on both sides."""
    trials = make_trials([("a", "b", True), ("a", "c", True), ("d", "b", False), ("b", "e", False)])
    enroll, test = trial_speakers(trials)
    assert enroll[0] == enroll[1] == enroll[3] == test[0] == test[1] == test[2]
    assert len({int(enroll[0]), int(enroll[2]), int(test[3])}) == 3


def test_the_corpora_name_their_speakers() -> None:
    vox = [
        ("id00001/x/1.wav", "id00001/y/2.wav", True),
        ("id00002/x/1.wav", "id00002/z/1.wav", True),
    ]
    vox += [("id00001/z/9.wav", "id00002/x/1.wav", False)]
    enroll, test = trial_speakers(make_trials(vox))
    assert enroll[2] == enroll[0] == test[0] != test[2] == enroll[1]
    cn = [
        ("id00800-enroll", "test/id00800-singing-01-005.wav", True),
        ("id00800-enroll", "test/id00801-a.wav", False),
    ]
    enroll, test = trial_speakers(make_trials(cn))
    assert enroll[0] == test[0] != test[1]


def test_ids_that_contradict_the_labels_are_ignored() -> None:
    trials = make_trials([("id00001/a", "id00002/b", True), ("id00001/a", "id00003/c", False)])
    enroll, test = trial_speakers(trials)
    assert enroll[0] == test[0] != test[1]
