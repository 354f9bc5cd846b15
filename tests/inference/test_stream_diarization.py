"""Live recognition that tells unknown voices apart."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tonal_voices import RATE, TonalExtractor, tonal_conversation, tonal_voice

from vprtrain import Predictor
from vprtrain.diarization import OnlineClustering
from vprtrain.errors import UsageError
from vprtrain.inference import Decision, SpeakerStream

THRESHOLD = 0.9
TURNS = [(0, 3.0), (2, 3.0), (0, 2.0), (5, 3.0), (2, 2.0)]
ENDS = [3.5, 7.0, 9.5, 13.0, 15.5]
"""Of the turns, in seconds; half a second of pause is before each."""


@pytest.fixture(scope="module")
def predictor(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Predictor]:
    """Nobody is enrolled."""
    folder = tmp_path_factory.mktemp("live")
    opened = Predictor(TonalExtractor(), folder / "people.db", vad="energy")
    yield opened
    opened.close()


def stream_of(predictor: Predictor, **options) -> SpeakerStream:
    return predictor.stream(**{"threshold": THRESHOLD, "diarize": True, **options})


def at(decisions: list[Decision], ends: list[float]) -> list[str | None]:
    """The numbers in the decisions at some times."""
    return [next(each.speaker for each in decisions if each.end == end) for end in ends]


def test_unknown_voices_have_numbers_and_the_rest_is_as_without(predictor: Predictor) -> None:
    samples = tonal_conversation(TURNS)
    found = stream_of(predictor).feed(samples)
    assert at(found, ENDS) == ["speaker_1", "speaker_2", "speaker_1", "speaker_3", "speaker_2"]
    plain = stream_of(predictor, diarize=False).feed(samples)
    assert [replace(each, speaker=None) for each in found] == plain
    assert all(each.score is not None for each in found if each.speaker is not None)
    assert plain[0].as_json(diarize=False).keys() == vars(plain[0]).keys() - {"speaker"}
    assert found[6].as_json(diarize=True) == vars(found[6])


@given(
    cuts=st.lists(st.integers(0, 16 * RATE), max_size=12), hop=st.sampled_from([0.25, 0.37, 0.5])
)
@settings(max_examples=8)
def test_chunks_of_any_length_give_the_same_numbers(
    predictor: Predictor, cuts: list[int], hop: float
) -> None:
    samples = tonal_conversation(TURNS)
    whole = stream_of(predictor, hop=hop)
    expected = whole.feed(samples) + whole.finish()
    chunked = stream_of(predictor, hop=hop)
    found = [each for part in np.split(samples, sorted(cuts)) for each in chunked.feed(part)]
    assert found + chunked.finish() == expected
    assert {each.speaker for each in expected} == {None, "speaker_1", "speaker_2", "speaker_3"}


def test_there_are_no_more_numbers_than_allowed(predictor: Predictor) -> None:
    stream = stream_of(predictor, diarize=OnlineClustering(max_speakers=2))
    found = stream.feed(tonal_conversation(TURNS))
    assert at(found, ENDS) == ["speaker_1", "speaker_2", "speaker_1", None, "speaker_2"]


def test_a_voice_has_the_name_that_it_is_given_and_keeps_its_number(predictor: Predictor) -> None:
    stream = stream_of(predictor)

    def last(speaker: int, take: int) -> tuple[str | None, str | None]:
        decision = stream.feed(tonal_voice(speaker, 2.5, take=take))[-1]
        return decision.user, decision.speaker

    assert [last(0, 1), last(2, 1)] == [(None, "speaker_1"), (None, "speaker_2")]
    predictor.register((tonal_voice(0, 2.0), RATE), "Dora")
    predictor.register((tonal_voice(5, 2.0), RATE), "Eve")
    assert [last(0, 2), last(2, 2)] == [("Dora", "speaker_1"), (None, "speaker_2")]
    assert last(5, 1) == ("Eve", None)  # she was known when she appeared
    predictor.remove_user("Dora")
    predictor.remove_user("Eve")
    assert [last(0, 3), last(5, 2)] == [(None, "speaker_1"), (None, "speaker_3")]


def test_a_window_below_the_threshold_is_the_users_whom_its_voice_matches(
    predictor: Predictor,
) -> None:
    """In noise that comes and goes, single windows do not match, and their mean does."""
    predictor.register((tonal_voice(0, 3.0), RATE), "Dora")
    speech = tonal_voice(0, 8.0, take=1)
    noise = np.random.default_rng(2).standard_normal(3 * RATE).astype(np.float32)
    speech[5 * RATE :] += 0.16 * noise
    options = {"threshold": 0.85, "smoothing": 0.0}
    alone = stream_of(predictor, diarize=False, **options).feed(speech)
    found = stream_of(predictor, **options).feed(speech)
    predictor.remove_user("Dora")
    assert alone[9].user == "Dora" and alone[-1].user is None and alone[-1].score < 0.85
    assert [each.user for each in found[2:]] == ["Dora"] * 14
    assert all(each.score >= 0.85 and each.speaker is None for each in found[2:])


def test_the_voices_are_forgotten_at_the_end_of_a_stream(predictor: Predictor) -> None:
    stream = stream_of(predictor)
    assert stream.feed(tonal_voice(0, 3.0))[-1].speaker == "speaker_1"
    stream.finish()
    assert stream.feed(tonal_voice(2, 3.0))[-1].speaker == "speaker_1"


def test_no_database_is_needed() -> None:
    alone = Predictor(TonalExtractor(), vad="energy")
    last = stream_of(alone).feed(tonal_voice(0, 3.0))[-1]
    assert (last.user, last.score, last.speaker) == (None, -1.0, "speaker_1")
    with pytest.raises(UsageError, match="no database"):
        stream_of(alone, diarize=False)
