"""The voices of a session, told apart window by window."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vprtrain.diarization import HeardVoices, OnlineClustering
from vprtrain.errors import UsageError

DIMENSION = 64
HOP = 0.5
DIRECTIONS = np.linalg.qr(np.random.default_rng(0).standard_normal((DIMENSION, DIMENSION)))[0]
"""Orthogonal: the cosine of two voices is 0."""


def window(speaker: int, take: int = 0) -> np.ndarray:
    """A vector of length 1 near to a speaker's direction: two of one speaker have a cosine of about
    0.8."""
    rng = np.random.default_rng([speaker, take])
    unit = DIRECTIONS[speaker] + 0.5 * rng.standard_normal(DIMENSION) / np.sqrt(DIMENSION)
    found: np.ndarray = unit / np.linalg.norm(unit)
    return found


def heard(
    speakers: list[int], clustering: OnlineClustering | None = None, *, speech: float = 1.5
) -> list[int | None]:
    """What is heard of the windows of speakers, one every half second."""
    voices = HeardVoices(clustering or OnlineClustering())
    return [
        voices.hear(window(speaker, take), end=HOP * take, speech=speech)
        for take, speaker in enumerate(speakers)
    ]


def test_a_voice_begins_when_windows_agree_for_a_second_and_is_known_when_it_comes_back() -> None:
    first, second = [0] * 5, [1] * 4
    assert heard([*first, *second, 0, 1, 1]) == [
        *(None, None, 0, 0, 0),
        *(None, None, 1, 1),
        *(0, 1, 1),
    ]


def test_windows_that_do_not_agree_begin_no_voice() -> None:
    assert heard([0, 1, 2, 0, 1, 2, 3, 3, 4]) == [None] * 9


def test_an_odd_window_between_those_of_a_voice_changes_nothing() -> None:
    assert heard([0, 0, 0, 5, 0, 0, 5, 0]) == [None, None, 0, None, 0, 0, None, 0]


def test_the_time_counts_and_not_the_number_of_windows() -> None:
    voices = HeardVoices(OnlineClustering(new_after=1.0))
    ends = [0.0, 0.1, 0.2, 0.9, 1.0]
    found = [voices.hear(window(0, take), end=end, speech=1.5) for take, end in enumerate(ends)]
    assert found == [None, None, None, None, 0]
    slow = HeardVoices(OnlineClustering(new_after=1.0))
    assert [slow.hear(window(0, take), end=2.0 * take, speech=1.5) for take in range(2)] == [
        None,
        0,
    ]


def test_little_speech_neither_begins_nor_changes_a_voice_but_is_recognised() -> None:
    assert heard([0] * 6, speech=0.9) == [None] * 6
    voices = HeardVoices(OnlineClustering())
    for take in range(3):
        voices.hear(window(0, take), end=HOP * take, speech=1.0)
    before = voices.mean(0)
    assert voices.hear(window(0, 7), end=2.0, speech=0.9) == 0
    np.testing.assert_array_equal(voices.mean(0), before)
    assert voices.hear(window(0, 8), end=2.5, speech=1.0) == 0
    assert not np.array_equal(voices.mean(0), before)


def test_the_mean_has_every_window_with_the_same_weight() -> None:
    voices = HeardVoices(OnlineClustering())
    windows = [window(3, take) for take in range(9)]
    for take, unit in enumerate(windows):
        voices.hear(unit, end=HOP * take, speech=1.5)
    np.testing.assert_allclose(voices.mean(0), np.mean(windows, axis=0), rtol=1e-12)


@given(
    turns=st.lists(st.tuples(st.integers(0, 7), st.integers(1, 6)), max_size=30),
    most=st.integers(1, 4),
)
@settings(max_examples=60)
def test_numbers_are_in_order_stay_below_the_most_and_come_back(
    turns: list[tuple[int, int]], most: int
) -> None:
    speakers = [speaker for speaker, length in turns for _ in range(length)]
    found = heard(speakers, OnlineClustering(max_speakers=most))
    known: dict[int, int] = {}
    for speaker, number in zip(speakers, found, strict=True):
        if number is not None and speaker not in known:
            assert number == len(known) < most
            known[speaker] = number
        assert number == known.get(speaker)


@given(st.lists(st.integers(0, 3), min_size=1, max_size=40), st.integers(0, 40))
@settings(max_examples=30)
def test_what_follows_changes_nothing_before(speakers: list[int], cut: int) -> None:
    assert heard(speakers)[:cut] == heard(speakers[:cut])


def test_further_voices_are_not_told_apart() -> None:
    found = heard([0] * 3 + [1] * 3 + [2] * 4 + [1], OnlineClustering(max_speakers=2))
    assert found[6:] == [None, None, None, None, 1]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("same_speaker", 0.0), ("same_speaker", 1.5), ("agreement", float("nan"))),
        *(("new_after", 0), ("least_speech", -1), ("max_speakers", 0), ("max_speakers", 1.5)),
    ],
)
def test_values_out_of_range_are_refused(name: str, value: float) -> None:
    with pytest.raises(UsageError, match=f"{name} is"):
        OnlineClustering(**{name: value})
