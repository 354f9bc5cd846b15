"""Reading recordings: formats, parts, rates, channels, and files with wrong headers."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
import time
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from vprtrain.data.audio.files import ByteRange
from vprtrain.data.audio.reading import AudioError, audio_duration, read_audio
from vprtrain.data.audio.track import Channel
from vprtrain.data.reading import Reading
from vprtrain.errors import UsageError

# README.md beside the files describes each. These have nothing that a trainer should learn.
REFUSED = {
    "._ok_reference.wav",
    "README.md",
    "all_nan.wav",
    "empty_valid.wav",
    "header_only.wav",
    "headerless.pcm",
    "html_error_page.mp3",
    "inf_float.wav",
    "nan_float.wav",
    "random_bytes.flac",
    "sample_rate_zero.wav",
    "text_renamed.wav",
    "video_no_audio.mp4",
    "zero_bytes.flac",
    "zero_bytes.wav",
}


def tone(seconds: float = 1.0, rate: int = 16000, hertz: float = 440.0) -> np.ndarray:
    return (0.5 * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)).astype(
        np.float32
    )


def test_every_bad_file_is_read_or_refused_in_one_line(test_data: Path) -> None:
    files = [path for path in (test_data / "bad_audio").rglob("*") if path.is_file()]
    assert len(files) > 50
    refused = set()
    for path in files:
        try:
            waveform = read_audio(path)
        except AudioError as error:
            assert str(path) in str(error) and "\n" not in str(error)
            refused.add(path.name)
        else:
            assert waveform.dtype == np.float32 and waveform.ndim == 1 and len(waveform)
            assert np.isfinite(waveform).all() and np.abs(waveform).max() <= 1
    assert refused == REFUSED


@pytest.mark.parametrize(
    "name", ["rate_8000.wav", "rate_11025.wav", "rate_44100.wav", "rate_96000.wav"]
)
def test_other_rates_become_16_khz(test_data: Path, name: str) -> None:
    assert len(read_audio(test_data / "bad_audio" / name)) == pytest.approx(8000, abs=1)


def test_reading_ten_thousand_bombs_would_not_fill_the_memory(test_data: Path) -> None:
    """Only one second of half an hour of silence in a tiny FLAC is decoded."""
    path = test_data / "bad_audio" / "long_30min_silence.flac"
    code = (
        "import sys; from peak_memory import peak_memory; import av\n"
        "from vprtrain.data.audio.reading import read_audio\n"
        "before = peak_memory()\n"
        "assert len(read_audio(sys.argv[1], start=1700, duration=1)) == 16000\n"
        "print(peak_memory() - before)"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    grown = subprocess.run(
        [sys.executable, "-c", code, path],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert int(grown.stdout) < 10 << 20  # the whole file would be 115 MB


@settings(max_examples=25, deadline=None)
@given(
    start=st.floats(0, 1.5), duration=st.floats(0.05, 2), rate=st.sampled_from([8000, 16000, 44100])
)
def test_a_part_is_where_it_was_in_the_whole(
    tmp_path_factory: pytest.TempPathFactory, start: float, duration: float, rate: int
) -> None:
    path = tmp_path_factory.mktemp("part") / "noise.wav"
    noise = np.convolve(np.random.default_rng(0).normal(0, 0.05, 2 * rate), np.ones(16) / 4, "same")
    soundfile.write(path, noise, rate, subtype="FLOAT")
    part = read_audio(path, sample_rate=rate, start=start, duration=duration)
    first = round(start * rate)
    np.testing.assert_array_equal(
        part, noise.astype(np.float32)[first : first + round(duration * rate)]
    )


def test_resampling_keeps_the_tone_and_adds_no_alias(tmp_path: Path) -> None:
    soundfile.write(
        tmp_path / "in.wav", tone(1, 44100, 440) + tone(1, 44100, 15000), 44100, subtype="FLOAT"
    )
    waveform = read_audio(tmp_path / "in.wav")
    assert len(waveform) == 16000
    middle = slice(2000, 14000)
    np.testing.assert_allclose(waveform[middle], tone(1, 16000, 440)[middle], atol=2e-3)


@settings(max_examples=25, deadline=None)
@given(
    start=st.floats(0, 1.5),
    duration=st.floats(0.05, 2),
    rate=st.sampled_from([8000, 11025, 15999, 44100, 48000]),
)
def test_a_part_at_another_rate_is_what_it_is_in_the_whole(
    tmp_path_factory: pytest.TempPathFactory, start: float, duration: float, rate: int
) -> None:
    path = tmp_path_factory.mktemp("part") / "noise.wav"
    soundfile.write(path, np.random.default_rng(0).normal(0, 0.05, 2 * rate), rate, subtype="FLOAT")
    whole = read_audio(path)
    first = round(start * 16000)
    expected = whole[first : first + round(duration * 16000)]
    np.testing.assert_allclose(
        read_audio(path, start=start, duration=duration), expected, atol=1e-5
    )


@pytest.mark.parametrize(
    ("format", "subtype"), [("WAV", "PCM_16"), ("FLAC", "PCM_16"), ("WAV", "PCM_24")]
)
def test_integers_become_the_floats_that_libsndfile_makes_of_them(
    tmp_path: Path, format: str, subtype: str
) -> None:
    noise = np.random.default_rng(0).normal(0, 0.4, (16000, 2)).clip(-1, 1)
    soundfile.write(tmp_path / "a", noise, 16000, format=format, subtype=subtype)
    expected = soundfile.read(tmp_path / "a", dtype="float32")[0]
    for channel in (0, 1):
        np.testing.assert_array_equal(
            read_audio(tmp_path / "a", channel=channel), expected[:, channel]
        )


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_every_wav_is_read_as_libsndfile_reads_it(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """Plain files are read without libsndfile: they must be recognised, and read the same."""
    channels = data.draw(st.sampled_from([1, 2, 5]))
    samples = np.random.default_rng(0).integers(
        -(2**15), 2**15, (data.draw(st.integers(1, 70_000)), channels), np.int16
    )
    path = tmp_path_factory.mktemp("wav") / "a"
    kind = data.draw(st.sampled_from(["WAV", "WAVEX", "RF64", "W64"]))
    soundfile.write(path, samples, 16000, format=kind, subtype="PCM_16")
    content = bytearray(path.read_bytes())
    # a chunk of something else before the samples, of odd length too
    if data.draw(st.booleans()) and kind == "WAV":
        extra = data.draw(st.binary(min_size=1, max_size=9000))
        content[12:12] = b"LIST" + struct.pack("<I", len(extra)) + extra + b"\0" * (len(extra) % 2)
    for place in data.draw(st.lists(st.integers(0, 47), max_size=2)):  # and a damaged header
        content[place] = data.draw(st.integers(0, 255))
    path.write_bytes(
        bytes(
            content[: data.draw(st.integers(44, len(content)))]
            if data.draw(st.booleans())
            else content
        )
    )
    first, count = data.draw(st.integers(0, 70_000)), data.draw(st.integers(1, 70_000))
    try:
        with soundfile.SoundFile(str(path)) as sound:
            rate, length, frames = sound.samplerate, sound.channels, sound.frames
            sound.seek(min(first, frames))
            expected = sound.read(count, dtype="float32", always_2d=True)[:, -1]
    except soundfile.LibsndfileError:
        return
    if rate != 16000 or not len(expected):
        return
    part = read_audio(path, start=first / 16000, duration=count / 16000, channel=length - 1)
    np.testing.assert_array_equal(part, expected)
    assert audio_duration(path) == frames / rate


def encode(path: Path, samples: np.ndarray, *, format: str, codec: str, rate: int) -> None:
    with av.open(str(path), "w", format=format) as container:
        stream = container.add_stream(codec, rate=rate, layout="mono")
        frame = av.AudioFrame.from_ndarray(samples[None], format="fltp", layout="mono")
        frame.sample_rate = rate
        fit = av.AudioResampler(
            stream.codec_context.format.name, "mono", rate, stream.codec_context.frame_size or 0
        )
        for part in [*fit.resample(frame), *fit.resample(None), None]:
            container.mux(stream.encode(part))


@pytest.mark.parametrize(
    ("format", "codec", "rate"),
    [
        ("ipod", "aac", 16000),
        ("ipod", "aac", 44100),
        ("mp4", "libopus", 48000),
        ("adts", "aac", 16000),
        ("matroska", "aac", 16000),
    ],
)
def test_a_part_of_what_ffmpeg_reads_is_where_it_was_in_the_whole(
    tmp_path: Path, format: str, codec: str, rate: int
) -> None:
    clicks = 0.01 * np.random.default_rng(0).normal(size=12 * rate)
    clicks[np.arange(1, 24) * rate // 2] = 0.9
    path = tmp_path / "clicks"
    encode(path, clicks.astype(np.float32), format=format, codec=codec, rate=rate)
    whole = read_audio(path, sample_rate=rate)
    for start in (0.0, 0.013, 3.3, 9.876):
        first = round(start * rate)
        part = read_audio(path, sample_rate=rate, start=start, duration=1.5)
        expected = whole[first : first + len(part)]
        assert len(part) == round(1.5 * rate) and np.abs(part).max() > 0.1
        # AAC decoders synthesise noise, which a seek changes; the position must be exact.
        likeness = np.fft.irfft(
            np.fft.rfft(part, 4 * rate) * np.fft.rfft(expected, 4 * rate).conj()
        )
        assert np.argmax(likeness) == 0 and np.corrcoef(part, expected)[0, 1] > 0.95


def test_a_part_of_a_long_m4a_costs_a_part_of_decoding_it(tmp_path: Path) -> None:
    encode(tmp_path / "a.m4a", tone(40), format="ipod", codec="aac", rate=16000)

    def cost(**part: float) -> float:
        begun = time.thread_time()
        read_audio(tmp_path / "a.m4a", **part)
        return time.thread_time() - begun

    assert min(cost(start=30, duration=3) for _ in range(3)) < min(cost() for _ in range(2)) / 3


@pytest.mark.parametrize(
    "name",
    [
        "ok_reference.wav",
        "float_64.wav",
        "id3_art.mp3",
        "voice.ogg",
        "voice.opus",
        "aac.m4a",
        "voice.wma",
    ],
)
def test_a_recording_inside_a_larger_file_is_the_same(
    tmp_path: Path, test_data: Path, name: str
) -> None:
    path = test_data / "bad_audio" / name
    content = path.read_bytes()
    (tmp_path / "archive").write_bytes(b"RIFF" * 100 + content + b"fLaC" * 1000)
    member = ByteRange(str(tmp_path / "archive"), 400, len(content))
    assert audio_duration(member) == audio_duration(path)
    np.testing.assert_array_equal(read_audio(member), read_audio(path))
    np.testing.assert_array_equal(
        read_audio(member, start=0.3, duration=0.1), read_audio(path, start=0.3, duration=0.1)
    )


def test_what_is_wrong_inside_a_larger_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "archive").write_bytes(bytes(1000))
    with pytest.raises(AudioError, match=r"archive, bytes 100 to 600: cannot be decoded"):
        read_audio(ByteRange(str(tmp_path / "archive"), 100, 500))
    with pytest.raises(AudioError, match=r"archive, bytes 100 to 100: empty"):
        read_audio(ByteRange(str(tmp_path / "archive"), 100, 0))
    with pytest.raises(AudioError, match="No such file"):
        read_audio(ByteRange(str(tmp_path / "gone"), 100, 5))


def test_a_channel_that_is_not_there_is_an_error(tmp_path: Path, test_data: Path) -> None:
    soundfile.write(tmp_path / "a.wav", tone(), 16000)
    for path in (tmp_path / "a.wav", test_data / "bad_audio" / "aac.m4a"):
        with pytest.raises(AudioError) as refused:
            read_audio(path, channel=1)
        assert str(refused.value) == f"{path}: there is no channel 1; it has only channel 0"
    soundfile.write(tmp_path / "stereo.wav", np.stack([tone(), tone()], axis=1), 16000)
    with pytest.raises(AudioError, match=r"there is no channel 2; it has channels 0 to 1$"):
        read_audio(tmp_path / "stereo.wav", channel=2)


def test_the_first_channel_is_taken(tmp_path: Path) -> None:
    left = tone()
    soundfile.write(
        tmp_path / "antiphase.wav", np.stack([left, -left], axis=1), 16000, subtype="FLOAT"
    )
    np.testing.assert_array_equal(read_audio(tmp_path / "antiphase.wav"), left)


@pytest.mark.parametrize("format", ["WAV", "FLAC", "matroska"])
def test_the_mix_is_the_mean_of_all_channels(tmp_path: Path, format: str) -> None:
    channels = np.random.default_rng(0).integers(-(2**14), 2**14, (20_000, 3), np.int16)
    if format == "matroska":
        with av.open(str(tmp_path / "a"), "w", format=format) as container:
            stream = container.add_stream("pcm_s16le", rate=16000, layout="3.0")
            frame = av.AudioFrame.from_ndarray(channels.reshape(1, -1), format="s16", layout="3.0")
            frame.sample_rate = 16000
            container.mux([*stream.encode(frame), *stream.encode(None)])
    else:
        soundfile.write(tmp_path / "a", channels, 16000, format=format, subtype="PCM_16")
    expected = channels.mean(axis=1) / 2**15
    np.testing.assert_allclose(read_audio(tmp_path / "a", channel="mix"), expected, atol=1e-7)
    np.testing.assert_array_equal(
        Reading(channel="mix").read(tmp_path / "a", start=0.5, duration=0.25),
        read_audio(tmp_path / "a", channel="mix")[8000:12000],
    )


@pytest.mark.parametrize("channel", [-1, "1", "left", "left\n" * 1000])
def test_a_channel_is_a_number_or_the_mix(channel: Channel) -> None:
    with pytest.raises(UsageError, match=r"^channel is .{1,120}$"):
        Reading(channel=channel)


def test_the_content_decides_not_the_name(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", tone(), 16000)
    expected = read_audio(tmp_path / "a.wav")
    for name in ("a.flac", "a.raw", "a.vox", "http:", "a"):
        os.rename(next(tmp_path.iterdir()), tmp_path / name)
        np.testing.assert_array_equal(read_audio(tmp_path / name), expected)


def test_what_goes_beyond_one_is_scaled_not_clipped(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "loud.wav", tone() * 60, 16000, subtype="FLOAT")
    np.testing.assert_allclose(read_audio(tmp_path / "loud.wav"), tone() * 2, atol=1e-6)


def test_a_header_that_promises_four_gigabytes_costs_what_is_there(tmp_path: Path) -> None:
    samples = np.zeros(1000, "<i2").tobytes()
    header = struct.pack(
        "<4sI4s4sIHHIIHH4sI",
        b"RIFF",
        0xFFFFFFFF,
        b"WAVE",
        b"fmt ",
        16,
        1,
        1024,
        16000,
        2**25,
        2048,
        16,
        b"data",
        2**32 - 1,
    )
    (tmp_path / "lie.wav").write_bytes(header + samples * 4)
    assert len(read_audio(tmp_path / "lie.wav")) == 3
    assert audio_duration(tmp_path / "lie.wav") == pytest.approx(3 / 16000)


def test_duration_comes_from_the_header(tmp_path: Path, test_data: Path) -> None:
    soundfile.write(tmp_path / "a.flac", tone(1.25), 16000)
    assert audio_duration(tmp_path / "a.flac") == 1.25
    assert audio_duration(test_data / "bad_audio" / "aac.m4a") == pytest.approx(1.4)
    assert audio_duration(test_data / "bad_audio" / "wrong_length_zero.wav") == pytest.approx(1.4)


@pytest.mark.parametrize("make", ["nothing", "folder", "dangling", "pipe"])
def test_what_is_no_file_is_named(tmp_path: Path, make: str) -> None:
    path = tmp_path / "x.wav"
    if make == "folder":
        path.mkdir()
    elif make == "dangling":
        path.symlink_to(tmp_path / "gone.wav")
    elif make == "pipe":
        os.mkfifo(path)
    for read in (read_audio, audio_duration):
        with pytest.raises(AudioError, match=r"x\.wav.*expected an audio file"):
            read(path)


def test_a_part_behind_the_end_is_an_error(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", tone(), 16000)
    with pytest.raises(AudioError, match="no samples"):
        read_audio(tmp_path / "a.wav", start=1.5, duration=1)
    with pytest.raises(ValueError, match="duration > 0"):
        read_audio(tmp_path / "a.wav", duration=0)


def test_a_playlist_opens_no_connection(tmp_path: Path) -> None:
    playlist = tmp_path / "list.m3u8"
    playlist.write_text(
        "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nhttp://127.0.0.1:9/a.ts\n#EXT-X-ENDLIST\n"
    )
    with pytest.raises(AudioError, match="cannot be decoded"):
        read_audio(playlist)
