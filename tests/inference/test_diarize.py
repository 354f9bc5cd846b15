"""Who speaks when: the whole way from a recording to segments with names."""

from __future__ import annotations

import io
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import soundfile
from tonal_voices import RATE, TonalExtractor, tonal_conversation, tonal_voice

from vprtrain import Predictor
from vprtrain.data.audio import AudioError
from vprtrain.data.vad import EnergyDetector
from vprtrain.diarization import Clustering
from vprtrain.errors import UsageError
from vprtrain.inference import enroll_folder
from vprtrain.lists import Segment
from vprtrain.scoring.diarization import score_diarization

TURNS = [(0, 4.0), (2, 3.0), (0, 5.0), (5, 6.0), (2, 4.0), (5, 3.0), (0, 2.0)]


@pytest.fixture
def predictor(tmp_path: Path) -> Iterator[Predictor]:
    opened = Predictor(TonalExtractor(), tmp_path / "people.db", vad="energy")
    yield opened
    opened.close()


def reference(turns: list[tuple[int, float]], pause: float = 0.5) -> list[Segment]:
    segments, time = [], pause
    for speaker, seconds in turns:
        segments.append(Segment(time, time + seconds, str(speaker)))
        time += seconds + pause
    return segments


@pytest.mark.parametrize("num_speakers", [None, 3])
@pytest.mark.parametrize("rate", [16000, 44100])
def test_a_conversation_is_split_into_turns(
    predictor: Predictor, num_speakers: int | None, rate: int
) -> None:
    samples = tonal_conversation(TURNS)
    if rate != RATE:
        samples = np.interp(
            np.arange(0, len(samples), RATE / rate), np.arange(len(samples)), samples
        )
    found = predictor.diarize((samples, rate), num_speakers, threshold=0.9)
    assert [each.speaker for each in found] == [
        *("speaker_1", "speaker_2", "speaker_1", "speaker_3", "speaker_2", "speaker_3"),
        "speaker_1",
    ]
    errors = score_diarization(reference(TURNS), found, collar=0.25)
    assert errors.der < 0.02
    assert all(a.end <= b.start for a, b in pairwise(found))


def test_turns_without_a_pause_are_split(predictor: Predictor) -> None:
    turns = [(0, 4.3), (3, 5.1), (0, 3.3)]
    samples = tonal_conversation(turns, pause=0.0)
    edges = np.zeros(RATE, np.float32)
    found = predictor.diarize((np.concatenate([edges, samples, edges]), RATE), threshold=0.9)
    assert [each.speaker for each in found] == ["speaker_1", "speaker_2", "speaker_1"]
    assert found[0].end == found[1].start == pytest.approx(5.3, abs=0.4)
    assert found[1].end == found[2].start == pytest.approx(10.4, abs=0.4)


def test_the_voices_correct_the_detector_of_speech() -> None:
    samples = tonal_conversation(TURNS)
    sixth = reference(TURNS)[5]
    beep = tonal_voice(7, 1.2)  # too short for a speaker
    begins = len(samples) / RATE
    recording = np.concatenate([samples, beep, samples[: RATE // 2]])

    def detector(waveform: np.ndarray, sample_rate: int) -> list[tuple[float, float]]:
        found = EnergyDetector()(waveform, sample_rate)
        return [each for each in found if not sixth.start - 0.2 < each[0] < sixth.end]

    assert any(start < begins + 1 < end for start, end in detector(recording, RATE))
    assert len(detector(recording, RATE)) == len(TURNS)  # one is missed, the beep is none
    found = Predictor(TonalExtractor(), vad=detector).diarize((recording, RATE))
    assert found[-1].end < begins  # it is not speech
    assert score_diarization(reference(TURNS), found, collar=0.25).der < 0.02
    (again,) = [each for each in found if abs(each.start - sixth.start) < 0.5]
    assert again.speaker == "speaker_3" and again.end == pytest.approx(sixth.end, abs=0.3)


def test_users_have_their_names(predictor: Predictor) -> None:
    predictor.register((tonal_voice(2, 3.0, take=9), RATE), "Ann")
    found = predictor.diarize((tonal_conversation(TURNS), RATE), threshold=0.9)
    names = {str(speaker): each.speaker for (speaker, _), each in zip(TURNS, found, strict=True)}
    assert names == {"0": "speaker_1", "2": "Ann", "5": "speaker_2"}


def test_a_database_needs_a_threshold_but_a_model_alone_does_not(predictor: Predictor) -> None:
    alone = Predictor(TonalExtractor(), vad="energy")
    assert len(alone.diarize((tonal_conversation(TURNS), RATE))) == len(TURNS)


def test_any_audio_of_any_length_is_taken(predictor: Predictor, tmp_path: Path) -> None:
    turns = [(0, 40.0), (4, 50.0), (0, 60.0)]
    samples, file = tonal_conversation(turns), io.BytesIO()
    soundfile.write(file, samples, RATE, format="FLAC")
    (tmp_path / "long.flac").write_bytes(file.getvalue())
    seconds: list[float] = []
    found = predictor.diarize(tmp_path / "long.flac", threshold=0.9, progress=seconds.append)
    assert found == predictor.diarize(file.getvalue(), threshold=0.9)
    assert sum(seconds) == pytest.approx(len(samples) / RATE)
    assert [each.speaker for each in found] == ["speaker_1", "speaker_2", "speaker_1"]
    assert score_diarization(reference(turns), found, collar=0.25).der < 0.01


def test_one_speaker_is_one_and_nobody_is_nobody(
    predictor: Predictor, caplog: pytest.LogCaptureFixture
) -> None:
    (only,) = predictor.diarize((tonal_conversation([(1, 2.0)]), RATE), threshold=0.9)
    assert only.speaker == "speaker_1" and only.duration == pytest.approx(2.0, abs=0.3)
    assert not caplog.records
    assert predictor.diarize((np.zeros(5 * RATE, np.float32), RATE), threshold=0.9) == []
    assert "the audio: nobody speaks in it" in caplog.text


def test_where_nobody_speaks_a_louder_channel_is_named(
    predictor: Predictor, caplog: pytest.LogCaptureFixture
) -> None:
    voice = tonal_conversation([(1, 2.0)])
    assert predictor.diarize((np.stack([0 * voice, voice], axis=1), RATE), threshold=0.9) == []
    assert "nobody speaks in it; channel 1 is louder, at " in caplog.text


def test_fewer_speakers_than_asked_for_are_said(
    predictor: Predictor, caplog: pytest.LogCaptureFixture
) -> None:
    found = predictor.diarize((tonal_conversation(TURNS), RATE), 20, threshold=0.9)
    heard = len({each.speaker for each in found})
    assert heard < 20
    assert f"20 speakers were asked for, but the turns of {heard} are found" in caplog.text


def test_what_cannot_be_is_refused_in_one_line(predictor: Predictor, tmp_path: Path) -> None:
    two = (tonal_conversation([(0, 1.2), (1, 1.2)]), RATE)
    with pytest.raises(UsageError, match=r"num_speakers is 100, but the recording has 2 windows"):
        predictor.diarize(two, 100, threshold=0.9)
    for changes in ({"num_speakers": 0}, {"max_speakers": 0}, {"num_speakers": 1.5}):
        with pytest.raises(UsageError, match=f"{next(iter(changes))} is .*whole number"):
            predictor.diarize(two, **changes, threshold=0.9)
    read: list[float] = []
    with pytest.raises(UsageError, match="num_speakers is 0"):
        predictor.diarize(two, 0, threshold=0.9, progress=read.append)
    assert not read  # a recording may be hours long
    (tmp_path / "empty.wav").write_bytes(b"")
    with pytest.raises(AudioError, match="empty"):
        predictor.diarize(tmp_path / "empty.wav", threshold=0.9)
    broken = np.full(RATE, np.nan, np.float32)
    with pytest.raises(AudioError, match="the audio: some samples are not finite"):
        predictor.diarize((broken, RATE), threshold=0.9)
    with pytest.raises(AudioError, match="no channel 1"):
        Predictor(TonalExtractor(), channel=1, vad="energy").diarize(two)


@pytest.mark.parametrize("method", ["vbx", "agglomerative", "spectral"])
def test_all_methods_find_the_same_turns(predictor: Predictor, method: str) -> None:
    audio = (tonal_conversation([*TURNS, *TURNS]), RATE)
    found = predictor.diarize(audio, threshold=0.9, clustering=Clustering(method=method))
    assert len({each.speaker for each in found}) == 3
    assert score_diarization(reference([*TURNS, *TURNS]), found, collar=0.25).der < 0.02


def test_a_recording_of_two_voices_is_not_one_speaker(predictor: Predictor) -> None:
    predictor.require_one_speaker((tonal_conversation([(0, 3.0), (0, 4.0)]), RATE))
    with pytest.raises(AudioError, match=r"me\.wav: 2 voices, of 8\.\d and 4\.\d s; expected one"):
        predictor.require_one_speaker(
            (tonal_conversation([(0, 8.0), (3, 4.0)]), RATE), name="me.wav"
        )
    later = Predictor(TonalExtractor(), vad="energy", max_seconds=8.0)
    later.require_one_speaker((tonal_conversation([(0, 8.0), (3, 4.0)]), RATE))  # of 8 s are used


def test_a_folder_is_enrolled_without_mixed_recordings(
    predictor: Predictor, tmp_path: Path
) -> None:
    for user, turns in {"ann": [(0, 3.0)], "bob": [(1, 5.0), (4, 4.0)]}.items():
        (tmp_path / "users" / user).mkdir(parents=True)
        soundfile.write(tmp_path / "users" / user / "1.wav", tonal_conversation(turns), RATE)
    found = enroll_folder(predictor, tmp_path / "users", single_speaker=True)
    assert found.enrolled == {"ann": 1}
    assert found.refused[str(tmp_path / "users" / "bob" / "1.wav")].startswith("2 voices, of 5.")
    assert enroll_folder(predictor, tmp_path / "users").enrolled == {"bob": 1}
