"""Speech in every form that an application may pass, and what is refused."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from small_checkpoint import voice

from vprtrain.data.audio import speech
from vprtrain.data.audio.reading import AudioError, read_audio
from vprtrain.data.audio.speech import Audio, read_speech


def read(audio: Audio, **options) -> np.ndarray:
    return read_speech(
        audio, **{"sample_rate": 16000, "min_samples": 8000, "max_seconds": 60.0} | options
    )


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Two channels of 1 s at 22.05 kHz, 16 bits."""
    path = tmp_path / "voice.wav"
    channels = np.stack([voice(0, seconds=1.5)[:22050], voice(1, seconds=1.5)[:22050]], axis=1)
    soundfile.write(path, channels, 22050)
    return path


def test_all_forms_of_a_recording_give_the_same(path: Path) -> None:
    expected = read(path)
    integers, rate = soundfile.read(path, dtype="int16")
    floats, _ = soundfile.read(path, dtype="float32")
    np.testing.assert_array_equal(expected, read_audio(path))
    with open(path, "rb") as file:
        forms: list[Audio] = [
            *(str(path), path.read_bytes(), file, io.BytesIO(path.read_bytes())),
            *(
                (integers, rate),
                (floats, rate),
                (floats.astype("float64"), rate),
                (floats[:, 0], np.int64(rate)),
            ),
            (integers.astype("int32") << 16, rate),
        ]
        for form in forms:
            np.testing.assert_array_equal(read(form), expected)


def test_formats_that_ffmpeg_reads_come_as_bytes_too(test_data: Path) -> None:
    path = test_data / "bad_audio" / "aac.m4a"
    np.testing.assert_array_equal(read(path.read_bytes()), read(path))


def test_only_the_beginning_of_a_longer_recording_is_read(path: Path) -> None:
    cut = read(path, max_seconds=0.7)
    assert len(cut) == 11200
    np.testing.assert_array_equal(cut, read(path)[:11200])


def test_an_array_that_goes_beyond_one_is_scaled_as_a_file_is(tmp_path: Path) -> None:
    loud = voice(0) * 30
    soundfile.write(tmp_path / "loud.wav", loud, 16000, subtype="FLOAT")
    np.testing.assert_array_equal(read((loud, 16000)), read(tmp_path / "loud.wav"))
    assert np.abs(read((loud, 16000))).max() == 1


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal(shape).astype("float32") * 0.1


REFUSED: dict[str, tuple[object, str]] = {
    "an array alone": (noise(16000), r"\(array, rate\)"),
    "channels first": ((noise(1, 16000), 16000), "shape"),
    "three axes": ((noise(160, 100, 1), 16000), "shape"),
    "a number": ((np.array(1.0), 16000), "shape"),
    "bytes as samples": ((noise(16000).astype("uint8"), 16000), "samples of uint8"),
    "objects": ((np.array(["a"] * 9000, dtype=object), 16000), "samples of object"),
    "no rate": ((noise(16000), None), "sample rate"),
    "a rate of nothing": ((noise(16000), 0), "sample rate of 0"),
    "a negative rate": ((noise(16000), -16000), "sample rate"),
    "empty": ((noise(0), 16000), "no samples"),
    "short": ((noise(7999), 16000), "too short, 0.50 s; expected at least 0.5 s"),
    "silent": ((np.zeros(16000, "int16"), 16000), "silent"),
    "a constant": ((np.full(16000, 0.5), 16000), "silent"),
    "dither": (
        (np.random.default_rng(0).integers(-1, 2, 16000).astype("int16"), 16000),
        "silent.*-92 dBFS",
    ),
    "nan": ((np.where(np.arange(16000) == 9, np.nan, noise(16000)), 16000), "not finite"),
    "infinite": ((np.where(np.arange(16000) == 9, np.inf, noise(16000)), 16000), "not finite"),
    "no bytes": (b"", "empty"),
    "bytes of something else": (b"RIFF, they say", "cannot be decoded"),
    "a text file": (io.StringIO("text"), "binary mode"),
    "none": (None, "NoneType is not audio"),
    "a list": ([0.0] * 16000, "list is not audio"),
    "an empty name": ("", "No such file"),
    "a name with a zero byte": ("a\0b", "null"),
    "a folder": (Path("/"), "not a regular file"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_speech_is_refused_in_a_line_that_says_why(name: str) -> None:
    audio, reason = REFUSED[name]
    with pytest.raises(AudioError, match=reason) as caught:
        read(audio, name="the third audio")  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)
    if not isinstance(audio, str | Path):
        assert str(caught.value).startswith("the third audio: ")


def test_an_open_file_is_read_up_to_a_limit(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    size = path.stat().st_size
    monkeypatch.setattr(speech, "MAX_BYTES", size)
    with open(path, "rb") as file:
        read(file)
    monkeypatch.setattr(speech, "MAX_BYTES", size - 1)
    with open(path, "rb") as file, pytest.raises(AudioError, match="give its path"):
        read(file)
    with pytest.raises(AudioError, match="closed file"):
        read(file)


@settings(max_examples=60, deadline=None)
@given(
    samples=arrays.arrays(
        dtype=st.sampled_from(
            ["int16", "int32", "float16", "float32", "float64", "uint8", "bool", "complex64"]
        ),
        shape=arrays.array_shapes(min_dims=1, max_dims=3, min_side=0, max_side=40),
    ),
    rate=st.integers(-1, 200_000),
)
def test_any_array_is_speech_or_refused(samples: np.ndarray, rate: int) -> None:
    try:
        waveform = read((samples, rate), min_samples=2)
    except AudioError:
        return
    assert (
        waveform.dtype == np.float32 and np.isfinite(waveform).all() and np.abs(waveform).max() <= 1
    )
