"""The end of a FLAC file by its last frame, for files of two encoders."""

from __future__ import annotations

from io import BytesIO

import numpy as np
import pytest
import soundfile
from encoded_audio import Kind, encoded, speech_like

from vprtrain.data.audio.flac_frames import ends_with_sample, starts_again


@pytest.mark.parametrize("samples", [1, 15, 16, 4095, 4096, 4097, 70_000, 1_200_000])
@pytest.mark.parametrize("encoder", ["libsndfile", "FFmpeg"])
@pytest.mark.parametrize("noisy", [True, False])
def test_the_last_frame_names_the_end(samples: int, encoder: str, noisy: bool) -> None:
    rate = 22_050
    waveform = speech_like(samples / rate, rate) * noisy
    if encoder == "FFmpeg":
        content = encoded(Kind("flac", "flac", rate), waveform)
    else:
        file = BytesIO()
        soundfile.write(file, waveform.T, rate, format="FLAC", subtype="PCM_24")
        content = file.getvalue()
    for extra in (b"", b"TAG" + bytes(125), np.random.default_rng(0).bytes(5000)):
        assert ends_with_sample(BytesIO(content + extra)) == samples
    assert not starts_again(BytesIO(content))
    assert starts_again(BytesIO(content + content))


def test_a_file_without_frames_has_no_end() -> None:
    for content in (b"", b"fLaC", b"fLaC" + bytes(5000), np.random.default_rng(1).bytes(9000)):
        assert ends_with_sample(BytesIO(content)) is None
