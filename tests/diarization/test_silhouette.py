"""The silhouette of clusters, beside scikit-learn's."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import silhouette_score

from vprtrain.diarization.silhouette import silhouette


@given(clusters=st.integers(2, 6), seed=st.integers(0, 1000))
@settings(deadline=None, max_examples=30)
def test_it_is_that_of_all_pairs(clusters: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    labels = np.concatenate([np.arange(clusters), rng.integers(clusters, size=30)])
    units = rng.standard_normal((len(labels), 8)) + labels[:, np.newaxis] * rng.uniform(0, 1)
    around = units - units.mean(axis=0)
    expected = silhouette_score(around, labels, metric="cosine")
    assert silhouette(units, labels) == pytest.approx(expected, abs=1e-9)


def test_a_cluster_of_one_window_counts_as_0() -> None:
    units = np.random.default_rng(0).standard_normal((7, 4))
    labels = np.array([0, 0, 0, 0, 1, 1, 2])
    expected = silhouette_score(units - units.mean(axis=0), labels, metric="cosine")
    assert silhouette(units, labels) == pytest.approx(expected, abs=1e-9)


def test_one_cluster_is_not_apart() -> None:
    assert silhouette(np.eye(3), np.zeros(3, np.int64)) == 0
