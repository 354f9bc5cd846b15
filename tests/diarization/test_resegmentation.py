"""Where in a window the speaker changes."""

from __future__ import annotations

from itertools import pairwise, product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vprtrain.diarization import EmbeddedWindows, Resegmentation
from vprtrain.diarization.resegmentation import best_path


@given(
    st.integers(1, 6), st.integers(1, 3), st.floats(0, 2, allow_nan=False), st.integers(0, 10_000)
)
def test_no_path_is_better_than_the_best(frames: int, states: int, cost: float, seed: int) -> None:
    scores = np.random.default_rng(seed).normal(size=(frames, states))

    def value(path: tuple[int, ...]) -> float:
        changes = sum(a != b for a, b in pairwise(path))
        return sum(scores[i, state] for i, state in enumerate(path)) - cost * changes

    best = max(map(value, product(range(states), repeat=frames)))
    assert value(tuple(best_path(scores, cost).tolist())) == pytest.approx(best)


def windows_of_change(at: float) -> EmbeddedWindows:
    """Eight seconds of speech; windows are the mix of two voices that change ``at`` a time."""
    starts = np.arange(0, 6.51, 0.75)
    times = np.stack([starts, starts + 1.5], axis=1)
    first = ((at - times[:, 0]) / 1.5).clip(0, 1)
    mixed = np.stack([first, 1 - first], axis=1)
    units = mixed / np.linalg.norm(mixed, axis=1, keepdims=True)
    return EmbeddedWindows(speech=[(0.0, 8.0)], times=times, embeddings=units.astype(np.float32))


@pytest.mark.parametrize("at", [2.1, 3.3, 4.0, 5.7])
def test_a_change_within_a_window_is_found(at: float) -> None:
    decoding = Resegmentation(windows_of_change(at), switch_cost=1.0)
    labels = decoding.frame_labels(np.eye(2))
    (first, second) = decoding.segments(labels)
    assert first[0] == 0.0 and second[1] == 8.0 and (first[2], second[2]) == (0, 1)
    assert first[1] == second[0] == pytest.approx(at, abs=0.25)
    middles = windows_of_change(at).times.mean(axis=1)
    expected = (middles >= first[1]).astype(int)
    assert decoding.window_labels(labels).tolist() == expected.tolist()


def test_a_change_costs() -> None:
    decoding = Resegmentation(windows_of_change(4.0), switch_cost=1000.0)
    assert len(decoding.segments(decoding.frame_labels(np.eye(2)))) == 1


def test_segments_of_speech_stay_apart() -> None:
    windows = EmbeddedWindows(
        speech=[(1.0, 1.03), (2.0, 4.0)],
        times=np.array([[1.0, 1.03], [2.0, 3.5], [2.5, 4.0]]),
        embeddings=np.eye(2, dtype=np.float32)[[0, 0, 0]],
    )
    decoding = Resegmentation(windows, switch_cost=1.0)
    found = decoding.segments(decoding.frame_labels(np.eye(2)))
    assert found == [(1.0, 1.03, 0), (2.0, 4.0, 0)]


def test_a_segment_may_begin_at_the_middle_of_a_window_but_for_rounding() -> None:
    start, end = float(np.nextafter(2.0, 3.0)), 2.5
    windows = EmbeddedWindows(
        speech=[(0.0, 0.5), (start, end)],
        times=np.array([0.0, 0.5, 2.0, 2.5])[:, np.newaxis] + [-0.25, 0.25],
        embeddings=np.eye(2, dtype=np.float32)[[0, 0, 0, 1]],
    )
    _, scores = Resegmentation(windows, switch_cost=0.3).frame_scores(np.eye(2))
    np.testing.assert_allclose(scores[:, 0], [0.9, 0.7, 0.5, 0.3, 0.1], atol=1e-6)
