"""Speech that a detector missed, and what it took for speech, by the voices of the speakers."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from vprtrain.diarization import EmbeddedWindows, Resegmentation
from vprtrain.diarization.voice_activity import segments_by_voice

SPEECH = [(0.0, 6.0), (10.0, 16.0)]
GAPS = [(6.0, 10.0), (16.0, 20.0)]
VOICES = np.eye(4)[:2]


def embedded(
    segments: list[tuple[float, float]], hop: float, cosines: dict[tuple[float, float, int], float]
) -> EmbeddedWindows:
    """Windows whose middles are ``hop`` seconds apart; each has a cosine with one voice, or none
    with either.

    Args:
        cosines: of stretches: start, end, voice.
    """
    middles, rows = [], []
    for start, end in segments:
        for middle in np.linspace(start, end, round((end - start) / hop) + 1):
            row = np.zeros(4)
            for (first, last, voice), cosine in cosines.items():
                if first <= middle <= last:
                    row[voice] = cosine
            row[3] = np.sqrt(1 - row @ row)
            middles.append(middle)
            rows.append(row)
    times = np.array(middles)[:, np.newaxis] + [-0.1, 0.1]
    return EmbeddedWindows(
        speech=segments, times=times, embeddings=np.array(rows, dtype=np.float32)
    )


def found(
    spoken: dict[tuple[float, float, int], float],
    missed: dict[tuple[float, float, int], float] | None,
) -> list[tuple[float, float, int]]:
    speech = embedded(SPEECH, 0.5, spoken)
    gaps = None if missed is None else embedded(GAPS, 0.25, missed)
    windows = replace(speech, gaps=gaps)
    labels = Resegmentation(windows, switch_cost=0.3).frame_labels(VOICES)
    return segments_by_voice(windows, labels, VOICES, switch_cost=0.3)


TALK = {(0.0, 6.0, 0): 0.8, (10.0, 16.0, 1): 0.8}


@pytest.mark.parametrize("loudness", [1.0, 0.5])
def test_a_gap_like_a_speaker_is_speech(loudness: float) -> None:
    talk = {stretch: loudness * cosine for stretch, cosine in TALK.items()}
    missed = {(8.0, 9.0, 1): 0.6 * loudness, (17.5, 18.5, 0): 0.2 * loudness}
    first, recovered, second = found(talk, missed)
    assert first == (0.0, 6.0, 0) and second == (10.0, 16.0, 1)
    assert recovered[2] == 1
    assert recovered[:2] == pytest.approx((8.0, 9.0), abs=0.15)


def test_speech_that_goes_on_in_a_gap_is_one_turn() -> None:
    first, second = found(TALK, {(6.0, 7.5, 0): 0.7, (9.0, 10.0, 1): 0.7})
    assert first == (0.0, pytest.approx(7.5, abs=0.15), 0)
    assert second == (pytest.approx(9.0, abs=0.15), 16.0, 1)


def test_two_speakers_in_a_gap_are_told_apart() -> None:
    turns = found(TALK, {(7.0, 8.0, 1): 0.7, (8.25, 9.25, 0): 0.7})
    assert [speaker for _, _, speaker in turns] == [0, 1, 0, 1]
    assert all(end <= start for (_, end, _), (start, _, _) in pairwise(turns))


def test_speech_like_no_speaker_is_none() -> None:
    talk = {(0.0, 2.5, 0): 0.8, (2.6, 4.4, 0): 0.1, (4.5, 6.0, 0): 0.8, (10.0, 16.0, 1): 0.8}
    first, second, third = found(talk, {})
    assert first == (0.0, pytest.approx(2.9, abs=0.1), 0)
    assert second == (pytest.approx(4.1, abs=0.1), 6.0, 0) and third == (10.0, 16.0, 1)


def test_a_moment_changes_nothing() -> None:
    talk = {(0.0, 2.9, 0): 0.8, (3.0, 3.0, 0): 0.2, (3.1, 6.0, 0): 0.8, (10.0, 16.0, 1): 0.8}
    turns = found(talk, {(18.0, 18.0, 0): 0.45})
    assert turns == [(0.0, 6.0, 0), (10.0, 16.0, 1)]


def test_a_gap_that_ends_later_by_rounding_overlaps_nothing() -> None:
    late = float(np.nextafter(10.0, 11.0))
    speech = embedded(SPEECH, 0.5, TALK)
    windows = replace(speech, gaps=embedded([(6.0, late)], 0.25, {(6.0, late, 0): 0.7}))
    labels = Resegmentation(windows, switch_cost=0.3).frame_labels(VOICES)
    turns = segments_by_voice(windows, labels, VOICES, switch_cost=0.3)
    assert turns == [(0.0, late, 0), (late, 16.0, 1)]


def test_without_gaps_the_detector_is_believed() -> None:
    talk = {(0.0, 6.0, 0): 0.8, (10.0, 12.0, 1): 0.8}
    assert found(talk, None)[-1][1] == 16.0 and found(talk, {})[-1][1] < 13.0


def test_without_audible_gaps_nothing_is_added() -> None:
    speech = embedded(SPEECH, 0.5, TALK)
    nothing = EmbeddedWindows(
        speech=[], times=np.zeros((0, 2)), embeddings=np.zeros((0, 1), np.float32)
    )
    windows = replace(speech, gaps=nothing)
    labels = Resegmentation(windows, switch_cost=0.3).frame_labels(VOICES)
    turns = segments_by_voice(windows, labels, VOICES, switch_cost=0.3)
    assert turns == [(0.0, 6.0, 0), (10.0, 16.0, 1)]
