"""Recordings that users have and that are easily read wrong: all samples are read, as FFmpeg's own
program reads them, and what is lost is said once."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from encoded_audio import SECONDS, made
from reference_ffmpeg import assert_as_ffmpeg, ffmpeg_samples

from vprtrain.data.audio import damage as damage_module
from vprtrain.data.audio.examination import examine_audio
from vprtrain.data.audio.files import ByteRange, InMemory
from vprtrain.data.audio.reading import AudioError, read_audio
from vprtrain.data.audio.speech import read_speech
from vprtrain.data.audio.track import Damage

ODD = {  # name: samples at the file's own rate, undecodable packets
    "speech_8ch.m4a": (153_600, 0),
    "truehd71.mp4": (20_080, 0),
    "pydub_latin1_metadata.mp4": (108_544, 0),
    "bear-id3.mp3": (134_784, 1),
    "short_pipe_vbr.mp3": (52_416, 0),
    "tests__assets__gs-16b-1c-44100hz.aac": (699_392, 0),
    "short.amr-nb": (22_400, 20),
}


def forms(path: Path) -> Iterator[tuple[str, np.ndarray | str]]:
    """The samples of a file in each form that a recording may have, or the refusal."""
    content = path.read_bytes()
    archive = path.with_name("archive")
    archive.write_bytes(b"fLaC" * 100 + content + b"OggS" * 100)
    options = {"sample_rate": 16000, "min_samples": 1, "max_seconds": 3600.0}
    with open(path, "rb") as file:
        for form, read in {
            "path": lambda: read_audio(path),
            "bytes": lambda: read_audio(InMemory("a", content)),
            "range": lambda: read_audio(ByteRange(str(archive), 400, len(content))),
            "file": lambda: read_speech(file, **options),
            "BytesIO": lambda: read_speech(io.BytesIO(content), **options),
            "bytes of an application": lambda: read_speech(content, **options),
            "memoryview": lambda: read_speech(memoryview(content), **options),
        }.items():
            try:
                yield form, read()
            except AudioError as error:
                assert "\n" not in str(error)
                yield form, str(error)


@pytest.mark.parametrize("name", ODD)
def test_odd_recordings_are_read_in_every_form(
    test_data: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    (tmp_path / name).write_bytes((test_data / "odd_audio" / name).read_bytes())
    path = tmp_path / name
    samples, skipped = ODD[name]
    found = examine_audio(path)
    assert (found.samples, found.damage.skipped) == (samples, skipped)
    assert_as_ffmpeg(path)
    expected = read_audio(path)
    assert len(expected) == pytest.approx(samples * 16000 / found.rate, abs=1)
    for form, waveform in forms(path):
        if name == "truehd71.mp4" and form not in ("path", "bytes", "range"):
            assert "silent" in waveform
        else:
            np.testing.assert_array_equal(waveform, expected, form)


@pytest.mark.parametrize("name", ["36bit.wav", "README.md"])
def test_what_is_no_speech_is_refused_in_every_form(
    test_data: Path, tmp_path: Path, name: str
) -> None:
    (tmp_path / name).write_bytes((test_data / "odd_audio" / name).read_bytes())
    for _, refusal in forms(tmp_path / name):
        assert isinstance(refusal, str) and "cannot be decoded as audio" in refusal


def test_bad_files_are_the_same_in_every_form(test_data: Path, tmp_path: Path) -> None:
    for file in sorted((test_data / "bad_audio").rglob("*")):
        if not file.is_file() or file.name.startswith("long_"):
            continue
        path = tmp_path / "a"
        path.write_bytes(file.read_bytes())
        by_form = dict(forms(path))
        expected = by_form["path"]
        for form, result in by_form.items():
            if isinstance(result, str):  # silence is read as a file and refused as speech
                assert isinstance(expected, str) or "silent" in result, (file, form)
            else:
                np.testing.assert_array_equal(result, expected, f"{file}, {form}")


def test_the_samples_of_bad_files_are_ffmpegs(test_data: Path) -> None:
    for path in sorted((test_data / "bad_audio").rglob("*")):
        if not path.is_file() or path.name == "long_30min_silence.flac":
            continue
        try:
            found = examine_audio(path)
        except AudioError:
            expected = ffmpeg_samples(path)
            assert not len(expected) or not np.isfinite(expected).all(), path
        else:
            padding = 1024 if path.read_bytes()[4:8] == b"ftyp" else 0
            expected = ffmpeg_samples(path)
            assert len(expected) <= found.samples <= len(expected) + padding, path


def torn(content: bytes, share: float = 0.5) -> bytes:
    return content[: int(len(content) * share)]


@pytest.mark.parametrize("name", ["wav", "float wav", "flac", "mp3", "aiff", "au", "w64", "rf64"])
def test_a_torn_file_says_so_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    path = tmp_path / "torn"
    path.write_bytes(torn(made(name)))
    found = examine_audio(path)
    assert found.seconds + found.damage.missing == pytest.approx(SECONDS, abs=0.25)
    assert caplog.messages == []
    for _ in range(3):
        read_audio(path)
    assert len(caplog.messages) == 1
    assert f"torn: damaged: {found.damage}" in caplog.messages[0]
    assert f"{found.damage.missing:.2f} s shorter than its header says" in caplog.messages[0]


def test_a_torn_mp4_says_so(test_data: Path) -> None:
    content = (test_data / "odd_audio" / "pydub_latin1_metadata.mp4").read_bytes()
    damage = examine_audio(InMemory("torn", torn(content))).damage
    assert damage.missing > 0.5 and "shorter than its header says" in str(damage)


def test_a_part_before_the_damage_says_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "torn.wav"
    path.write_bytes(torn(made("wav")))
    read_audio(path, start=0.5, duration=1)
    assert caplog.messages == []


def damaged_packets(content: bytes, count: int) -> bytes:
    """An ADTS file in which the first packets have another, impossible content."""
    place, changed = 0, bytearray(content)
    for _ in range(count + 2):
        size = (content[place + 3] & 3) << 11 | content[place + 4] << 3 | content[place + 5] >> 5
        if _ >= 2:
            changed[place + 7 : place + size] = b"\xff" * (size - 7)
        place += size
    return bytes(changed)


def test_undecodable_packets_are_left_out_up_to_a_share(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    content = made("adts")
    packets = examine_audio(InMemory("whole", content)).samples // 1024
    for count in (1, 5):
        found = examine_audio(InMemory("some", damaged_packets(content, count)))
        assert found.damage.skipped == count
        assert found.samples == (packets - count) * 1024
    with pytest.raises(AudioError, match=r"30 of \d+ packets cannot be decoded"):
        read_audio(InMemory("many", damaged_packets(content, 30)))
    assert caplog.messages == []


def test_a_stream_that_appears_inside_a_file_does_not_end_reading() -> None:
    content = bytearray(made("mpegts", 1))
    starts = [
        place
        for place in range(0, len(content), 188)
        if content[place + 1 : place + 3] == b"\x41\x00"  # a packet of the sound's stream begins
    ]
    content[starts[len(starts) // 2] + 2] = 4  # and belongs to another stream
    whole = examine_audio(InMemory("whole", made("mpegts", 1)))
    found = examine_audio(InMemory("changed", bytes(content)))
    assert 0.8 * whole.samples < found.samples < whole.samples


def test_what_was_said_takes_bounded_memory(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(damage_module, "_MOST_REMEMBERED", 10)
    for number in range(30):
        damage_module.say_once(f"{number}.wav", Damage(missing=1))
        damage_module.say_once(f"{number}.wav", Damage(missing=1))
    assert len(caplog.messages) == 30 and len(damage_module._said) == 10
