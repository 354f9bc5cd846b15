from __future__ import annotations

from io import SEEK_END, FileIO
from pathlib import Path

import numpy as np
import pytest
import soundfile

from vprtrain.data.audio.pcm_wave import HEADER_BYTES, DataChunk, PcmWave

SAMPLES = np.random.default_rng(0).integers(-(2**15), 2**15, (1000, 2), np.int16)


def recognised(path: Path) -> PcmWave | None:
    file = FileIO(path)
    chunk = DataChunk.find(file.read(HEADER_BYTES))
    return PcmWave.recognise(file, file.seek(0, SEEK_END), chunk)


def test_a_plain_file_is_recognised_and_read_in_parts(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", SAMPLES, 22050, subtype="PCM_16")
    wave = recognised(tmp_path / "a.wav")
    assert wave is not None and (wave.frames, wave.channels, wave.rate) == (1000, 2, 22050)
    for first, count in ((0, 1000), (10, 20), (990, 20), (1000, 5), (2000, 5)):
        np.testing.assert_array_equal(wave.read(first, count), SAMPLES[first : first + count])


def test_a_file_that_shrinks_while_it_is_read_is_an_error(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", SAMPLES, 16000, subtype="PCM_16")
    wave = recognised(tmp_path / "a.wav")
    assert wave is not None
    with open(tmp_path / "a.wav", "r+b") as file:
        file.truncate(2000)
    with pytest.raises(OSError, match="ends before its last sample"):
        wave.read(0, 1000)


@pytest.mark.parametrize(
    ("kind", "subtype"),
    [("WAV", "PCM_24"), ("WAV", "FLOAT"), ("RF64", "PCM_16"), ("FLAC", "PCM_16")],
)
def test_other_formats_are_left_to_others(tmp_path: Path, kind: str, subtype: str) -> None:
    soundfile.write(tmp_path / "a", SAMPLES, 16000, format=kind, subtype=subtype)
    assert recognised(tmp_path / "a") is None


def test_odd_headers_are_left_to_others(tmp_path: Path, test_data: Path) -> None:
    folder = test_data / "bad_audio"
    for name in (
        "truncated.wav",
        "header_only.wav",
        "wrong_length_ffffffff.wav",
        "wrong_length_zero.wav",
    ):
        assert recognised(folder / name) is None
    for name in (
        "sample_rate_zero.wav",
        "text_renamed.wav",
        "zero_bytes.wav",
        "ulaw_8k.wav",
        "adpcm.wav",
    ):
        assert recognised(folder / name) is None
    assert recognised(folder / "ok_reference.wav") is not None
    content = (folder / "ok_reference.wav").read_bytes()
    for length in range(60):
        (tmp_path / "torn").write_bytes(content[:length])
        assert recognised(tmp_path / "torn") is None
