from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import soundfile

from vprtrain.data.audio.reading import AudioError, read_audio
from vprtrain.data.preparation.flac import converted_to_flac, write_flac


def test_sixteen_bits_come_back_as_they_were(tmp_path: Path) -> None:
    samples = np.array([-32768, -32767, -1, 0, 1, 32767], dtype=np.int16).repeat(100)
    write_flac(tmp_path / "new" / "a.flac", samples.astype(np.float32) / 32768)
    written, rate = soundfile.read(tmp_path / "new" / "a.flac", dtype="int16")
    assert rate == 16000
    np.testing.assert_array_equal(written, samples)


def test_the_name_need_not_be_utf_8(tmp_path: Path) -> None:
    path = tmp_path / os.fsdecode(b"b\xfcro.flac")
    write_flac(path, np.zeros(100, np.float32))
    assert path.is_file()


def test_a_conversion_is_done_once(tmp_path: Path, test_data: Path) -> None:
    jobs = [(str(test_data / "bad_audio" / "aac.m4a"), tmp_path / "a" / "b" / "1.flac")]
    (made,) = converted_to_flac(jobs, workers=1)
    original = read_audio(jobs[0][0])
    np.testing.assert_allclose(read_audio(made), original, atol=2**-16 + 1e-7)
    assert soundfile.info(made).subtype == "PCM_16"
    before = made.stat().st_mtime_ns
    assert list(converted_to_flac(jobs, workers=1)) == [made]
    assert made.stat().st_mtime_ns == before
    os.utime(made, ns=(1, 1))  # older than its recording
    list(converted_to_flac(jobs, workers=1))
    assert made.stat().st_mtime_ns > 1


def test_what_cannot_be_converted_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "bad.m4a").write_bytes(b"no audio")
    (error,) = converted_to_flac([(str(tmp_path / "bad.m4a"), tmp_path / "bad.flac")], workers=1)
    assert isinstance(error, AudioError) and not (tmp_path / "bad.flac").exists()
