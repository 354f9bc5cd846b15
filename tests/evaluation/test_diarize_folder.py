"""Who speaks when in a folder of recordings as corpora are distributed, and the score of it."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
import soundfile

from vprtrain.data.audio import AudioError, audio_duration
from vprtrain.errors import RunError, UsageError
from vprtrain.evaluation import diarize_folder
from vprtrain.lists import Segment, write_segments
from vprtrain.scoring.diarization_evaluation import evaluate_diarization, read_timelines

SECONDS = {"amicorpus/ES2002a/audio/ES2002a.Mix-Headset": 2.0, "voxconverse/abjxc": 3.0}


@pytest.fixture
def audio(tmp_path: Path) -> Path:
    for name, seconds in SECONDS.items():
        path = tmp_path / "audio" / f"{name}.wav"
        path.parent.mkdir(parents=True)
        soundfile.write(path, 0.1 * np.ones(round(16000 * seconds)), 16000)
    return tmp_path / "audio"


def whole(path: str) -> list[Segment]:
    """One speaker from the beginning to the end."""
    return [Segment(0, audio_duration(path), "x")]


def test_every_recording_gets_a_file_that_can_be_scored(audio: Path, tmp_path: Path) -> None:
    found = diarize_folder(audio, tmp_path / "hyp", whole)
    assert found == (2, {})
    assert sorted(path.name for path in (tmp_path / "hyp").iterdir()) == [
        "ES2002a.Mix-Headset.rttm",
        "abjxc.rttm",
    ]
    for name in ("ES2002a", "abjxc"):
        path = tmp_path / "ref" / f"{name}.rttm"
        path.parent.mkdir(exist_ok=True)
        write_segments(path, [Segment(0, 2, "ann")], recording=name)
    scored = evaluate_diarization(
        read_timelines(tmp_path / "ref"), read_timelines(tmp_path / "hyp")
    )
    assert (scored.total.speech, scored.total.false_alarm, scored.missing) == (4, 1, [])


def test_what_cannot_be_used_is_left_out(
    audio: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (audio / "bad.wav").write_bytes(b"no audio")
    with caplog.at_level(logging.WARNING):
        found = diarize_folder(audio, tmp_path / "hyp", whole)
    assert found.recordings == 2
    assert list(found.refused) == ["bad"]
    assert "left out" in caplog.text


def test_mistakes_are_refused(audio: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match="found no recording"):
        diarize_folder(tmp_path / "empty", tmp_path / "hyp", whole)
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "bad.wav").write_bytes(b"no audio")
    with pytest.raises(AudioError, match=r"bad\.wav"):
        diarize_folder(tmp_path / "broken", tmp_path / "hyp", whole)
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="cannot be written"):
        diarize_folder(audio, tmp_path / "file", whole)
    (audio / "abjxc.flac").write_bytes((audio / "voxconverse" / "abjxc.wav").read_bytes())
    with pytest.raises(UsageError, match="two recordings of the same name"):
        diarize_folder(audio, tmp_path / "hyp", whole)
