"""DER and JER: equal to pyannote.metrics, and to what can be counted by hand."""

from __future__ import annotations

import json
from itertools import permutations
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from random_timelines import TIMELINES, Case, Turn, random_case

from vprtrain.errors import UsageError
from vprtrain.lists import Segment, Span
from vprtrain.scoring import diarization
from vprtrain.scoring.diarization import DiarizationErrors, score_diarization

FIGURES = json.loads((Path(__file__).parent / "pyannote_figures.json").read_text())


def segments(turns: list[Turn]) -> list[Segment]:
    return [Segment(*turn) for turn in turns]


def errors(case: Case) -> DiarizationErrors:
    return score_diarization(
        segments(case.reference),
        segments(case.hypothesis),
        scored=None if case.scored is None else [Span(*part) for part in case.scored],
        collar=case.collar,
        skip_overlap=case.skip_overlap,
    )


def test_the_figures_are_those_of_pyannote_on_random_timelines() -> None:
    assert len(FIGURES["figures"]) == TIMELINES == 200
    compared = 0
    for seed, expected in enumerate(FIGURES["figures"]):
        found = errors(random_case(seed))
        values = [getattr(found, name) for name in FIGURES["columns"]]
        # pyannote's JER of a recording whose reference has no scored speech is always 1.
        known = 6 if found.speakers else 5
        assert values[:known] == pytest.approx(expected[:known], abs=1e-6), seed
        compared += known
    assert compared > 1150


def test_errors_of_one_recording_by_hand() -> None:
    reference = [Segment(0, 10, "a"), Segment(8, 14, "b")]
    hypothesis = [Segment(1, 12, "x"), Segment(12, 16, "y")]
    found = score_diarization(reference, hypothesis)
    assert found.speech == 16
    assert found.missed == 1 + 2  # a alone from 0 to 1, one of two from 8 to 10
    assert found.false_alarm == 2  # from 14 to 16
    assert found.confusion == 2  # x from 10 to 12, where b speaks
    assert found.der == 7 / 16
    assert found.mapping == {"x": "a", "y": "b"}
    # a: 9 of 12 s are shared; b: 2 of 8 s.
    assert found.jer == pytest.approx(((1 - 9 / 12) + (1 - 2 / 8)) / 2)
    assert (found.speakers, found.found_speakers) == (2, 2)


def test_a_collar_counts_on_each_side_of_reference_boundaries() -> None:
    reference, hypothesis = [Segment(10, 20, "a")], [Segment(9.8, 20.25, "x")]
    assert score_diarization(reference, hypothesis).false_alarm == pytest.approx(0.45)
    found = score_diarization(reference, hypothesis, collar=0.25)
    assert found.false_alarm == 0
    assert found.speech == pytest.approx(9.5)
    assert score_diarization(reference, hypothesis, collar=0.1).false_alarm == pytest.approx(0.25)


def test_overlap_is_skipped_where_the_reference_has_it() -> None:
    reference = [Segment(0, 10, "a"), Segment(8, 14, "b")]
    found = score_diarization(reference, [Segment(0, 14, "x")], skip_overlap=True)
    assert (found.speech, found.missed, found.confusion) == (12, 0, 4)


def test_only_the_scored_parts_count() -> None:
    reference, hypothesis = [Segment(0, 10, "a")], [Segment(5, 20, "x")]
    found = score_diarization(reference, hypothesis, scored=[Span(4, 6), Span(5, 12)])
    assert (found.speech, found.missed, found.false_alarm) == (6, 1, 2)
    assert score_diarization(reference, hypothesis, scored=[]) == DiarizationErrors()


@pytest.mark.parametrize(
    ("reference", "hypothesis", "der", "jer"),
    [
        ([], [], 0.0, 0.0),
        ([], [Segment(0, 1, "x")], 1.0, 1.0),
        ([Segment(0, 1, "a")], [], 1.0, 1.0),
        ([Segment(0, 1, "a")], [Segment(0, 1, "x")], 0.0, 0.0),
    ],
)
def test_recordings_without_speech_have_rates(
    reference: list[Segment], hypothesis: list[Segment], der: float, jer: float
) -> None:
    found = score_diarization(reference, hypothesis)
    assert (found.der, found.jer) == (der, jer)


def test_errors_of_recordings_add_up() -> None:
    one = score_diarization([Segment(0, 10, "a")], [Segment(0, 5, "x")])
    other = score_diarization([Segment(0, 30, "a"), Segment(30, 31, "b")], [Segment(0, 31, "x")])
    both = one + other
    assert both.der == pytest.approx((5 + 1) / 41)
    assert both.jer == pytest.approx((1 / 2 + (1 - 30 / 31) + 1) / 3)
    assert (both.speakers, both.found_speakers) == (3, 2)


@pytest.mark.parametrize(
    ("name", "limit", "said"),
    [("_MOST_SPEAKERS", 2, "3 speakers in one"), ("_MOST_ENTRIES", 5, "4 segments of one")],
)
def test_absurd_timelines_are_refused(
    monkeypatch: pytest.MonkeyPatch, name: str, limit: int, said: str
) -> None:
    monkeypatch.setattr(diarization, name, limit)
    many = [Segment(0, 2, "a"), Segment(1, 4, "b"), Segment(2, 6, "c"), Segment(2, 5, "c")]
    with pytest.raises(UsageError, match=said):
        score_diarization(many, [])
    with pytest.raises(UsageError, match="collar is -1; expected"):
        score_diarization([], [], collar=-1)


# Times are whole numbers, so that boundaries often coincide.
timelines = st.lists(
    st.tuples(st.integers(0, 30), st.integers(1, 9), st.sampled_from("abcd")), max_size=12
).map(lambda turns: [Segment(start, start + length, who) for start, length, who in turns])
spans = st.lists(
    st.tuples(st.integers(0, 30), st.integers(1, 9)).map(lambda part: Span(part[0], sum(part))),
    max_size=3,
)


def counted(
    reference: list[Segment],
    hypothesis: list[Segment],
    scored: list[Span] | None,
    collar: int,
    skip_overlap: bool,
) -> tuple[int, int, int, int]:
    """Speech, missed, false alarm and confusion, second by second, with the best of all mappings
    of at most four speakers."""
    frames = []
    for time in np.arange(-5, 50) + 0.5:
        real, found = (
            {each.speaker for each in segments if each.start < time < each.end}
            for segments in (reference, hypothesis)
        )
        boundaries = [t for each in reference for t in (each.start, each.end)]
        counts = scored is None or any(part.start < time < part.end for part in scored)
        if collar and any(abs(time - boundary) < collar for boundary in boundaries):
            counts = False
        if counts and not (skip_overlap and len(real) > 1):
            frames.append((real, found))
    right = max(
        sum(
            len({a for a, b in zip("abcd", order, strict=True) if b in found} & real)
            for real, found in frames
        )
        for order in permutations("abcd")
    )
    return (
        sum(len(real) for real, _ in frames),
        sum(max(len(real) - len(found), 0) for real, found in frames),
        sum(max(len(found) - len(real), 0) for real, found in frames),
        sum(min(len(real), len(found)) for real, found in frames) - right,
    )


@given(timelines, timelines, st.none() | spans, st.sampled_from((0, 1, 2)), st.booleans())
def test_the_errors_are_those_that_are_counted(
    reference: list[Segment],
    hypothesis: list[Segment],
    scored: list[Span] | None,
    collar: int,
    skip_overlap: bool,
) -> None:
    found = score_diarization(
        reference, hypothesis, scored=scored, collar=collar, skip_overlap=skip_overlap
    )
    assert (found.speech, found.missed, found.false_alarm, found.confusion) == counted(
        reference, hypothesis, scored, collar, skip_overlap
    )
    assert 0 <= found.jer <= 1
