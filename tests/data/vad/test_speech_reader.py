"""Recordings as a model gets them: what is refused, cut, left out or doubted, in one line each."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import soundfile
from small_checkpoint import voice
from sounds import NOT_SPEECH, RATE, hiss

from vprtrain.data.audio.reading import AudioError
from vprtrain.data.audio.speech import Audio
from vprtrain.data.vad import EnergyDetector, Segment, SpeechReader
from vprtrain.data.vad.level import frame_levels, top_level
from vprtrain.errors import UsageError

VOICE = voice(0, seconds=3.0)


def reader(**options) -> SpeechReader:
    return SpeechReader(**{"sample_rate": RATE, "min_samples": 400, "max_seconds": 10.0} | options)


def read(audio: Audio, min_speech: float = 0.5, **options) -> np.ndarray:
    return reader(**options).read(audio, min_speech=min_speech).waveform


def middle_second(waveform: np.ndarray, sample_rate: int) -> list[Segment]:
    return [(1.0, 2.0)]


def nothing(waveform: np.ndarray, sample_rate: int) -> list[Segment]:
    return []


def test_without_a_detector_a_recording_stays_whole(caplog: pytest.LogCaptureFixture) -> None:
    np.testing.assert_array_equal(read((VOICE, RATE)), VOICE)
    assert not caplog.messages


def test_what_was_measured_is_told() -> None:
    found = reader(detector=middle_second).read((VOICE, RATE), min_speech=0.5, advised=2.0)
    assert (found.seconds, found.speech_seconds) == (3.0, 1.0)
    assert found.level == pytest.approx(top_level(frame_levels(found.waveform, RATE)))
    assert found.doubts == "only 1.00 s of speech; 2 s are better"


def test_only_the_segments_of_a_detector_are_kept() -> None:
    found = read((VOICE, RATE), detector=middle_second)
    np.testing.assert_array_equal(found, VOICE[RATE : 2 * RATE])
    silence = np.zeros(5 * RATE, np.float32)
    padded = read((np.concatenate([silence, VOICE, silence]), RATE), detector=EnergyDetector())
    assert 2.0 < len(padded) / RATE <= 3.2


def test_too_little_speech_is_refused_with_what_was_found() -> None:
    with pytest.raises(
        AudioError, match=r"the audio: 1.00 s of speech in its 3.00 s; .* 1.5 s \(--min_speech\)"
    ):
        read((VOICE, RATE), 1.5, detector=middle_second)
    with pytest.raises(AudioError, match=r"0.00 s of speech in its 3.00 s"):
        read((VOICE, RATE), 0, detector=nothing)
    assert len(read((VOICE, RATE), 1.0, detector=middle_second)) == RATE
    pause = np.zeros(2 * RATE, np.float32)
    with pytest.raises(AudioError, match=r"0.4\d s of speech in its 2.31 s"):
        read((np.concatenate([VOICE[2000:7000], pause]), RATE))


@pytest.mark.parametrize("name", ["clicks", "a step", "a step with dither"])
def test_clicks_and_steps_are_refused(name: str) -> None:
    with pytest.raises(AudioError, match=r"s of speech in its 3.00 s"):
        read((NOT_SPEECH[name], RATE))


@pytest.mark.parametrize("name", ["a sweep", "a sweep and silence", "a tone", "hiss", "loud hiss"])
def test_what_does_not_vary_as_speech_does_is_doubted(
    name: str, caplog: pytest.LogCaptureFixture
) -> None:
    read((NOT_SPEECH[name], RATE))
    (message,) = caplog.messages
    assert "its level varies by 0." in message and "(--vad)" in message


def test_a_quiet_recording_is_said_and_can_be_scaled(caplog: pytest.LogCaptureFixture) -> None:
    quiet = VOICE * np.float32(0.003)
    np.testing.assert_array_equal(read((quiet, RATE)), quiet)
    assert "the audio: quiet, at -6" in caplog.messages[0] and "(--level_norm)" in caplog.text
    caplog.clear()
    scaled = read((quiet, RATE), level_norm=True)
    np.testing.assert_allclose(scaled, read((VOICE, RATE), level_norm=True), rtol=1e-4, atol=1e-7)
    assert top_level(frame_levels(scaled, RATE)) == pytest.approx(-20, abs=0.01)
    quiet[100] = 0.5
    assert np.abs(read((quiet, RATE), level_norm=True)).max() == pytest.approx(1)
    assert not caplog.messages


def test_a_cut_recording_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    soundfile.write(tmp_path / "a.wav", VOICE, RATE, subtype="FLOAT")
    np.testing.assert_array_equal(read(tmp_path / "a.wav", max_seconds=2.0), VOICE[: 2 * RATE])
    assert caplog.messages == [f"{tmp_path / 'a.wav'}: only its first 2 s are used (--max_seconds)"]
    caplog.clear()
    assert len(read(tmp_path / "a.wav", max_seconds=3.0)) == len(VOICE) and not caplog.messages


def stereo(first: np.ndarray) -> Audio:
    """A WAV file in memory with the voice in channel 1."""
    file = io.BytesIO()
    soundfile.write(file, np.stack([first, VOICE], axis=1), RATE, format="WAV", subtype="FLOAT")
    return file.getvalue()


@pytest.mark.parametrize("form", ["file", "array"])
def test_speech_in_another_channel_is_said(form: str, caplog: pytest.LogCaptureFixture) -> None:
    audio = stereo(hiss(3.0, -70))
    if form == "array":
        audio = soundfile.read(io.BytesIO(audio), dtype="float32")
    read(audio)
    assert caplog.messages[0].endswith("try --channel 1")
    caplog.clear()
    np.testing.assert_array_equal(read(audio, channel=1), VOICE)
    assert len(read(audio, channel="mix")) == len(VOICE) and not caplog.messages
    with pytest.raises(AudioError, match=r"0.00 s of speech.*channel 1 is louder, .*--channel 1"):
        read(stereo(NOT_SPEECH["clicks"] * np.float32(0.1)))


def test_a_silent_channel_names_the_option() -> None:
    with pytest.raises(AudioError, match=r"silent .* \(this is channel 0 of 2: try --channel\)"):
        read(stereo(np.zeros_like(VOICE)))
    with pytest.raises(AudioError, match=r"expected speech, above -80 dBFS$"):
        read((np.zeros_like(VOICE), RATE))


def test_a_broken_channel_does_no_harm(caplog: pytest.LogCaptureFixture) -> None:
    channels = np.stack([hiss(3.0, -70), np.full(3 * RATE, np.nan, np.float32), VOICE], axis=1)
    read((channels, RATE))
    assert caplog.messages[0].endswith("try --channel 2")


@pytest.mark.parametrize("channel", [-1, "left"])
def test_a_channel_that_cannot_be_is_refused(channel: object) -> None:
    with pytest.raises(UsageError, match="channel is"):
        reader(channel=channel)
