"""FFmpeg's own program as an independent decoder; tests that need it are skipped without it."""

from __future__ import annotations

import subprocess
from functools import cache
from pathlib import Path
from shutil import which

import av
import numpy as np
import pytest

from vprtrain.data.audio.examination import examine_audio
from vprtrain.data.audio.reading import read_audio


@cache
def _program() -> str | None:
    try:
        import imageio_ffmpeg
    except ImportError:
        return which("ffmpeg")
    return str(imageio_ffmpeg.get_ffmpeg_exe())


def ffmpeg_samples(path: Path) -> np.ndarray:
    """The first channel of a file's first audio stream, at its own rate: float32 ``[samples]``."""
    if av.library_versions["libavformat"] < (62, 12):
        pytest.skip(
            "this PyAV has an older FFmpeg: it differs by a packet in chained and AAC files"
        )
    program = _program()
    if program is None:
        pytest.skip("no independent decoder: pip install imageio-ffmpeg, or ffmpeg on the PATH")
    decode = ["-map", "0:a:0", "-af", "pan=mono|c0=c0", "-c:a", "pcm_f32le", "-f", "f32le", "-"]
    done = subprocess.run(
        [program, "-v", "error", "-nostdin", "-i", f"file:{path}", *decode], capture_output=True
    )
    return np.frombuffer(done.stdout, np.float32)


def assert_as_ffmpeg(path: Path) -> np.ndarray:
    """The samples at the file's own rate, which must be those of FFmpeg's own program."""
    expected = ffmpeg_samples(path)
    found = examine_audio(path)
    samples = read_audio(path, sample_rate=found.rate)
    assert len(samples) == found.samples
    # FFmpeg 9 drops the encoder's padding at the end of MP4, FFmpeg 8 does not.
    padding = 1024 if path.read_bytes()[4:8] == b"ftyp" else 0
    assert len(expected) <= len(samples) <= len(expected) + padding
    np.testing.assert_allclose(
        samples[: len(expected)], expected / max(1, np.abs(expected).max()), atol=2e-4
    )
    return samples
