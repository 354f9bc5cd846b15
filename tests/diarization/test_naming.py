"""Users' names for the speakers of a recording."""

from __future__ import annotations

from vprtrain.diarization import speaker_names


def test_without_users_speakers_have_numbers() -> None:
    assert speaker_names([(None, -1.0), (None, 0.3)]) == ["speaker_1", "speaker_2"]


def test_a_user_is_the_speaker_with_the_highest_score() -> None:
    matches = [("Ann", -3.5), (None, -9.0), ("Ann", -2.0)]  # a score may be a log-likelihood ratio
    assert speaker_names(matches) == ["speaker_1", "speaker_2", "Ann"]


def test_a_number_is_not_the_name_of_a_user_who_was_found() -> None:
    assert speaker_names([(None, 0.1), ("speaker_1", 0.9)]) == ["speaker_2", "speaker_1"]
