"""Users' names for the speakers of a recording."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from vprtrain.diarization import speaker_names
from vprtrain.voiceprints import Voiceprints


@pytest.fixture
def voiceprints(tmp_path: Path) -> Voiceprints:
    opened = Voiceprints(tmp_path / "people.db", model="a model")
    opened.add("Ann", np.array([1.0, 0, 0], np.float32))
    opened.add("speaker_1", np.array([0, 1.0, 0], np.float32))
    return opened


def test_without_users_speakers_have_numbers() -> None:
    assert speaker_names(np.eye(3), None, 0.5) == ["speaker_1", "speaker_2", "speaker_3"]


def test_a_user_is_the_speaker_with_the_highest_score(voiceprints: Voiceprints) -> None:
    voices = np.array([[0.8, 0, 0.6], [0, 0, 1.0], [0.96, 0, 0.28]])
    assert speaker_names(voices, voiceprints, 0.5) == ["speaker_1", "speaker_2", "Ann"]
    assert speaker_names(voices, voiceprints, 0.99) == ["speaker_1", "speaker_2", "speaker_3"]


def test_a_number_is_not_the_name_of_a_user_who_was_found(voiceprints: Voiceprints) -> None:
    assert speaker_names(np.eye(3)[[2, 1]], voiceprints, 0.5) == ["speaker_2", "speaker_1"]
