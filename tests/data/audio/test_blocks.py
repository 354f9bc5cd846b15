"""Reading block by block gives what reading at once gives, in little memory."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
from encoded_audio import KINDS, SECONDS, made
from limited import run_limited

from vprtrain.data.audio import AudioError, InMemory, read_audio, read_blocks


@pytest.mark.parametrize("kind", KINDS)
def test_the_blocks_are_the_recording(kind: str) -> None:
    recording = InMemory(kind, made(kind))
    blocks = np.concatenate([*read_blocks(recording)])
    whole = read_audio(recording)
    assert abs(len(blocks) - len(whole)) <= 1 and len(whole) > 0.9 * SECONDS * 16000
    size = min(len(blocks), len(whole))
    np.testing.assert_allclose(blocks[:size], whole[:size], atol=1e-5)
    beginning = np.concatenate([*read_blocks(recording, duration=1.0)])
    assert len(beginning) == pytest.approx(16000, abs=1)


def test_every_bad_file_gives_its_samples_or_one_line(test_data: Path) -> None:
    refused = set()
    for path in (test_data / "bad_audio").rglob("*"):
        if not path.is_file():
            continue
        try:
            assert sum(map(len, read_blocks(path))) > 0
        except AudioError as error:
            assert str(path) in str(error) and "\n" not in str(error)
            refused.add(path.name)
    assert {"zero_bytes.wav", "video_no_audio.mp4", "README.md"} <= refused
    assert not any(name.startswith("ok_") for name in refused)


def test_a_missing_file_and_channel_are_refused(tmp_path: Path) -> None:
    with pytest.raises(AudioError, match=r"none\.wav: No such file"):
        next(read_blocks(tmp_path / "none.wav"))
    with pytest.raises(AudioError, match="there is no channel 1"):
        next(read_blocks(InMemory("the recording", made("wav")), channel=1))


def test_memory_does_not_grow_with_the_recording(tmp_path: Path) -> None:
    """An hour at 48 kHz is 690 MB as float32, and 230 MB at 16 kHz."""
    with soundfile.SoundFile(tmp_path / "long.wav", "w", 48000, 1) as file:
        for _ in range(60):
            file.write(np.zeros(60 * 48000, np.int16))
    script = (
        "from vprtrain.data.audio import read_blocks\n"
        "next(read_blocks(sys.argv[1]))\n"
        "before = peak_memory()\n"
        "samples = sum(map(len, read_blocks(sys.argv[1])))\n"
        "print(samples, before)\n"
    )
    said, peak = run_limited(script, tmp_path / "long.wav")
    samples, before = map(int, said.split())
    assert samples == pytest.approx(3600 * 16000, abs=1)
    assert peak - before < 20 << 20
