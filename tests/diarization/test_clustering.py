"""The speakers among windows: how many, and which window is whose."""

from __future__ import annotations

from itertools import pairwise, product

import numpy as np
import pytest
from sklearn.metrics import adjusted_rand_score

from vprtrain.diarization import Clustering, stages
from vprtrain.diarization.clustering import Method
from vprtrain.diarization.grouping import grouped
from vprtrain.diarization.refinement import halved, joined, without_small
from vprtrain.diarization.vbx import LOOP, _occupation

METHODS: tuple[Method, ...] = ("vbx", "agglomerative", "spectral")
DIMENSION = 192


def drawn_windows(
    sizes: list[int], *, spread: float = 0.9, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Unit vectors around a random direction for each speaker, in turns, and their speakers."""
    rng = np.random.default_rng(seed)
    of_windows = np.repeat(np.arange(len(sizes)), sizes)
    turns = np.array_split(of_windows, max(1, len(of_windows) // 5))
    speakers = np.concatenate([turns[turn] for turn in rng.permutation(len(turns))])
    directions = rng.standard_normal((len(sizes), DIMENSION))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    noise = rng.standard_normal((len(speakers), DIMENSION)) / np.sqrt(DIMENSION)
    units = directions[speakers] + spread * noise
    units /= np.linalg.norm(units, axis=1, keepdims=True)
    return units.astype(np.float32), speakers


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("sizes", [[60], [40, 25], [30, 50, 20], [50, 40, 30, 30, 20, 15]])
def test_the_number_of_speakers_is_found(method: Method, sizes: list[int]) -> None:
    units, speakers = drawn_windows(sizes)
    labels = Clustering(method=method).labels(units, num_speakers=None, max_speakers=10)
    assert labels.max() + 1 == len(sizes)
    assert adjusted_rand_score(speakers, labels) > 0.95 or len(sizes) == 1


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("count", [1, 2, 5, 30, 45, 60])
def test_a_given_number_is_found(method: Method, count: int) -> None:
    units, _ = drawn_windows([40, 20])
    labels = Clustering(method=method).labels(units, num_speakers=count, max_speakers=3)
    assert len(set(labels.tolist())) == labels.max() + 1 == count


@pytest.mark.parametrize("method", METHODS)
def test_a_given_number_is_not_spent_on_outliers(method: Method) -> None:
    units, speakers = drawn_windows([50, 40])
    outliers, _ = drawn_windows([1, 1, 1], seed=7)
    joined = np.concatenate([units, outliers])
    labels = Clustering(method=method).labels(joined, num_speakers=2, max_speakers=9)
    assert adjusted_rand_score(speakers, labels[: len(speakers)]) > 0.95


@pytest.mark.parametrize("method", METHODS)
def test_no_more_are_found_than_allowed(method: Method) -> None:
    units, _ = drawn_windows([30, 30, 30, 30])
    labels = Clustering(method=method).labels(units, num_speakers=None, max_speakers=2)
    assert 1 <= labels.max() + 1 <= 2


@pytest.mark.parametrize("windows", [1, 2, 3])
def test_few_windows_of_one_voice_are_one_speaker(windows: int) -> None:
    units, _ = drawn_windows([windows], spread=0.5)
    labels = Clustering().labels(units, num_speakers=None, max_speakers=10)
    assert labels.tolist() == [0] * windows


@pytest.mark.parametrize("method", METHODS)
def test_hours_of_windows_are_grouped_first(method: Method) -> None:
    units, speakers = drawn_windows([1500, 900, 600])
    labels = Clustering(method=method).labels(units, num_speakers=None, max_speakers=10)
    assert labels.max() == 2 and adjusted_rand_score(speakers, labels) > 0.95


def test_groups_are_of_one_speaker() -> None:
    units, speakers = drawn_windows([700, 500, 300], spread=0.5)
    groups = grouped(units, 200)
    assert groups.max() + 1 == len(np.unique(groups)) <= 200
    assert all(len(set(speakers[groups == group].tolist())) == 1 for group in np.unique(groups))
    assert grouped(units[:150], 200).tolist() == list(range(150))


@pytest.mark.parametrize(("method", "least"), [("vbx", 20), ("spectral", 12)])
def test_a_speaker_who_says_little_is_not_lost(method: Method, least: int) -> None:
    units, speakers = drawn_windows([70, 60, 50, 40, 30, least], spread=0.7)
    clustering = Clustering(method=method)
    labels = clustering.labels(units, num_speakers=None, max_speakers=10)
    assert labels.max() == 5 and adjusted_rand_score(speakers, labels) > 0.95
    assert clustering.labels(units, num_speakers=None, max_speakers=4).max() == 3


def test_vbx_keeps_voices_apart_whose_means_are_alike() -> None:
    units, speakers = drawn_windows([60, 50, 40], spread=0.7)
    units += units.mean(axis=0)
    units /= np.linalg.norm(units, axis=1, keepdims=True)
    means = np.stack([units[speakers == speaker].mean(axis=0) for speaker in range(3)])
    means /= np.linalg.norm(means, axis=1, keepdims=True)
    assert (means @ means.T).min() > Clustering.same_speaker
    found = [
        Clustering(method=method).labels(units, num_speakers=None, max_speakers=10)
        for method in ("vbx", "spectral")
    ]
    assert adjusted_rand_score(speakers, found[0]) > 0.95 and found[1].max() == 0


def test_several_priors_find_voices_that_one_loses(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(4)
    speakers = np.repeat(rng.permutation(np.repeat(np.arange(6), 5)), 10)
    voices = np.sqrt(0.14 / DIMENSION) * rng.standard_normal((6, DIMENSION))
    recording = np.sqrt(0.3 / DIMENSION) * rng.standard_normal(DIMENSION)
    noise = np.sqrt(0.5 / DIMENSION) * rng.standard_normal((len(speakers), DIMENSION))
    units = recording + voices[speakers] + noise
    units /= np.linalg.norm(units, axis=1, keepdims=True)
    several = Clustering().labels(units, num_speakers=None, max_speakers=10)
    monkeypatch.setattr(stages, "_PRIORS", (3.5,))
    one = Clustering().labels(units, num_speakers=None, max_speakers=10)
    assert adjusted_rand_score(speakers, several) > 0.7
    assert adjusted_rand_score(speakers, one) < 0.3


def test_a_given_number_is_of_voices_that_are_most_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    units, speakers = drawn_windows([150, 150])
    halves = np.arange(len(units)) // (len(units) // 2)
    parts = 2 * speakers + halves

    def found(units: np.ndarray, start: np.ndarray, *, fb: float) -> np.ndarray:
        return parts if fb < 3 else halves

    monkeypatch.setattr(stages, "vbx_labels", found)
    labels = Clustering().labels(units, num_speakers=2, max_speakers=10)
    assert adjusted_rand_score(speakers, labels) == 1


def test_the_occupation_of_states_is_that_of_all_paths() -> None:
    rng = np.random.default_rng(0)
    scores, prior = rng.standard_normal((5, 3)), np.array([0.5, 0.3, 0.2])
    change = LOOP * np.eye(3) + (1 - LOOP) * prior
    shares, weights = np.zeros((5, 3)), 0.0
    for path in product(range(3), repeat=5):
        weight = prior[path[0]] * np.exp(sum(scores[range(5), path]))
        weight *= np.prod([change[pair] for pair in pairwise(path)])
        shares[range(5), path] += weight
        weights += weight
    np.testing.assert_allclose(_occupation(scores, prior)[0], shares / weights, atol=1e-12)


def test_a_cluster_of_several_speakers_is_split_and_parts_of_one_are_joined() -> None:
    units, speakers = drawn_windows([30, 20, 25], spread=0.7)
    nothing = np.zeros(len(units), np.int64)
    split = halved(units, nothing, cosine=0.45, least=5)
    assert adjusted_rand_score(speakers, split) == 1.0
    assert halved(units, nothing, cosine=0.45, least=40).tolist() == nothing.tolist()
    parts = 2 * speakers + np.arange(len(units)) % 2
    assert adjusted_rand_score(speakers, joined(units, parts, cosine=0.45, most=9)) == 1.0
    assert joined(units, parts, cosine=0.45, most=2).max() == 1


def test_equal_embeddings_are_not_split() -> None:
    units, _ = drawn_windows([1])
    labels = np.zeros(20, np.int64)
    assert (halved(np.repeat(units, 20, axis=0), labels, cosine=0.5, least=2) == labels).all()


def test_a_small_cluster_joins_the_nearest_large_one() -> None:
    units = np.eye(3)[[0, 0, 0, 1, 1, 1, 2]] + 0.1
    units[6, 1] += 0.5
    units /= np.linalg.norm(units, axis=1, keepdims=True)
    labels = np.array([4, 4, 4, 2, 2, 2, 0])
    assert without_small(units, labels, least=2, keep=1).tolist() == [1, 1, 1, 0, 0, 0, 0]
    assert len(set(without_small(units, labels, least=2, keep=3).tolist())) == 3
    assert len(set(without_small(units, labels, least=9, keep=1).tolist())) == 1
