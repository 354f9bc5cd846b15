"""No header shortens a recording: all samples of every kind are read, as FFmpeg's own program reads
them, and a part is where it is in the whole."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from encoded_audio import KINDS, SECONDS, encoded, made, speech_like
from reference_ffmpeg import assert_as_ffmpeg

from vprtrain.data.audio.examination import examine_audio
from vprtrain.data.audio.reading import audio_duration, read_audio


@pytest.fixture(scope="module", params=KINDS)
def path(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of each kind."""
    kind = KINDS[request.param]
    path = tmp_path_factory.mktemp("kind") / request.param.replace(" ", "_")
    path.write_bytes(encoded(kind, speech_like(SECONDS, kind.rate)))
    return path


def test_every_sample_is_read(path: Path) -> None:
    samples = assert_as_ffmpeg(path)
    assert abs(audio_duration(path) - SECONDS) < 0.1
    found = examine_audio(path)
    assert abs(audio_duration(path) - found.seconds) < 0.03
    assert not found.damage and found.highest == pytest.approx(samples.max())


def shift(part: np.ndarray, whole: np.ndarray) -> int:
    """The samples by which a part is too far on to be the beginning of the whole."""
    size = 2 * len(whole)
    likeness = np.fft.irfft(np.fft.rfft(part, size) * np.fft.rfft(whole, size).conj())
    return (int(np.argmax(likeness)) + len(whole)) % size - len(whole)


def test_a_part_is_where_it_is_in_the_whole(path: Path) -> None:
    rate = examine_audio(path).rate
    whole = read_audio(path, sample_rate=rate)
    for start in (0.0, 0.013, 0.9, 2.0, 2.71):
        part = read_audio(path, sample_rate=rate, start=start, duration=0.5)
        first = round(start * rate)
        expected = whole[first : first + len(part)]
        assert len(part) == round(0.5 * rate)
        # AAC decoders synthesise noise, which a seek changes; the position must be exact.
        assert shift(part, expected) == 0 and np.corrcoef(part, expected)[0, 1] > 0.95


def with_flac_total(content: bytes, total: int) -> bytes:
    """A FLAC file whose header names another number of samples."""
    fields = int.from_bytes(content[18:26], "big")
    return content[:18] + (fields >> 36 << 36 | total).to_bytes(8, "big") + content[26:]


def changed_after(name: bytes, distance: int, new: bytes, content: bytes) -> bytes:
    """Bytes after a name replaced by others."""
    place = content.index(name) + distance
    return content[:place] + new + content[place + len(new) :]


def id3(frame: bytes, value: bytes) -> bytes:
    body = frame + len(value).to_bytes(4, "big") + b"\0\0" + value
    size = len(body)
    return b"ID3\x03\0\0" + bytes(size >> shift & 127 for shift in (21, 14, 7, 0)) + body


CHAINED = {
    "vorbis twice": lambda: 2 * made("vorbis"),
    "three of vorbis": lambda: b"".join(made("vorbis", 1.1, seed) for seed in range(3)),
    "forty of opus": lambda: 40 * made("opus", 1),
    "opus of two lengths": lambda: made("opus", 1.3) + made("opus", 2, seed=1),
    "mp3 twice": lambda: 2 * made("mp3"),
    "mp3 with and without a count": lambda: (
        made("mp3")
        + encoded(KINDS["mp3 without a count"]._replace(rate=44100), speech_like(2, 44100))
    ),
    "adts twice": lambda: 2 * made("adts"),
    "flac twice": lambda: 2 * made("flac"),
    "flac of two lengths": lambda: made("flac") + made("flac", 1, seed=1),
    "flac after a tag": lambda: id3(b"TIT2", b"\0title") + made("flac"),
    "flac before a tag": lambda: made("flac") + b"TAG" + bytes(125),
    "flac that names no total": lambda: with_flac_total(made("flac"), 0),
    "flac that names half": lambda: with_flac_total(made("flac"), 70_000),
    "mp3 with a wrong length in its tag": lambda: id3(b"TLEN", b"\x001000") + made("mp3"),
    "mp3 that counts too few frames": lambda: changed_after(b"Info", 8, b"\0\0\0\x20", made("mp3")),
    "wav of length 0": lambda: changed_after(b"data", 4, bytes(4), made("wav")),
    "wav from a pipe": lambda: changed_after(b"data", 4, b"\xff\xff\xff\xff", made("wav")),
}


NOT_MEASURED = "flac twice"
"""Its duration would take reading the whole file; decoding finds it."""
LOSING = {"mp3 twice", "mp3 with and without a count", "mp3 that counts too few frames"}
"""FFmpeg leaves out a packet between two files, or padding where it is not. A part that is found by
its time does not know of it."""


@pytest.mark.parametrize("name", CHAINED)
def test_no_header_shortens_a_recording(tmp_path: Path, name: str) -> None:
    path = tmp_path / "a"
    path.write_bytes(CHAINED[name]())
    samples = assert_as_ffmpeg(path)
    rate = examine_audio(path).rate
    if name != NOT_MEASURED:
        assert audio_duration(path) == pytest.approx(len(samples) / rate, abs=0.06)
    start = len(samples) - rate
    part = read_audio(path, sample_rate=rate, start=start / rate, duration=0.5)
    moved = shift(part, samples[start : start + len(part)])
    assert moved == 0 or (name in LOSING and abs(moved) < 0.06 * rate)
