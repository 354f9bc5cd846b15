from __future__ import annotations

import os
import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile

from vprtrain.data.audio.reading import AudioError
from vprtrain.data.preparation import measuring
from vprtrain.data.preparation.measuring import Measurer, decoded_duration
from vprtrain.errors import UsageError


@pytest.fixture
def recordings(tmp_path: Path) -> list[str]:
    """Three recordings of 1, 1.25 and 1.5 s."""
    paths = [str(tmp_path / f"{number}.wav") for number in range(3)]
    for number, path in enumerate(paths):
        soundfile.write(path, np.sin(np.arange(16000 + 4000 * number)), 16000)
    return paths


def measured(memory: Path, paths: list[str], **options: bool) -> list[float | AudioError]:
    return list(Measurer(memory=memory, workers=3).measure(paths, "files", **options))


@pytest.fixture
def looked_at(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The recordings that are read, each once."""
    seen: list[str] = []

    def watch(name: str) -> None:
        original = getattr(measuring, name)

        def watched(path: str) -> float:
            seen.append(path)
            return original(path)

        monkeypatch.setattr(measuring, name, watched)

    watch("audio_duration")
    watch("decoded_duration")
    return seen


def test_what_is_known_is_not_measured_again(
    tmp_path: Path, recordings: list[str], looked_at: list[str]
) -> None:
    memory = tmp_path / "memory"
    assert measured(memory, recordings) == [1.0, 1.25, 1.5]
    assert sorted(looked_at) == recordings
    looked_at.clear()
    assert measured(memory, recordings) == [1.0, 1.25, 1.5]
    assert looked_at == []
    soundfile.write(recordings[1], np.ones(8000), 16000)
    os.utime(recordings[2], ns=(1, 1))
    assert measured(memory, recordings) == [1.0, 0.5, 1.5]
    assert sorted(looked_at) == recordings[1:]


def test_a_header_that_was_read_is_no_decoding(
    tmp_path: Path, recordings: list[str], looked_at: list[str]
) -> None:
    memory = tmp_path / "memory"
    for decode, looks in ((False, 3), (True, 3), (True, 0), (False, 0)):
        looked_at.clear()
        assert measured(memory, recordings, decode=decode) == [1.0, 1.25, 1.5]
        assert len(looked_at) == looks


def test_a_duration_of_an_earlier_version_may_be_a_guess(
    tmp_path: Path, recordings: list[str], looked_at: list[str]
) -> None:
    """0.1 wrote 0 for the duration in a header, which some formats only guess, and 1 after decoding
    as much as it guessed."""
    memory = tmp_path / "memory"
    rows = []
    for path, decoded in zip(recordings, (0, 1, 1), strict=True):
        status = os.stat(path)
        rows.append(f"{path}\t{status.st_size}\t{status.st_mtime_ns}\t{decoded}\t9.0\n")
    memory.write_text("".join(rows))
    assert measured(memory, recordings) == [1.0, 1.25, 1.5]
    assert sorted(looked_at) == recordings
    assert measured(memory, recordings) == [1.0, 1.25, 1.5]
    assert sorted(looked_at) == recordings


def test_a_damaged_memory_costs_measurements_and_no_more(
    tmp_path: Path, recordings: list[str]
) -> None:
    memory = tmp_path / "memory"
    assert measured(memory, recordings) == [1.0, 1.25, 1.5]
    good = memory.read_text()
    for wrong in ("nan", "inf", "-1.0", "0.0", "1e400", "9" * 5000, "", "\xff", "x" * 100_000):
        memory.write_text(good.replace("1.25", wrong), encoding="latin-1")
        assert measured(memory, recordings) == [1.0, 1.25, 1.5], wrong[:20]
    memory.unlink()
    os.mkfifo(memory)
    with pytest.raises(UsageError, match=r"memory: not a file; .* delete it"):
        Measurer(memory=memory, workers=1)


def test_a_defect_of_a_decoder_costs_one_recording(
    tmp_path: Path, recordings: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    original = measuring.audio_duration

    def failing(path: str) -> float:
        if path == recordings[1]:
            raise AttributeError("'NoneType' object has no attribute 'rate'")
        return original(path)

    monkeypatch.setattr(measuring, "audio_duration", failing)
    first, error, last = measured(tmp_path / "memory", recordings)
    assert (first, last) == (1.0, 1.5)
    assert str(error) == (
        f"{recordings[1]}: the decoder failed (AttributeError: 'NoneType' object has no attribute "
        "'rate')"
    )


def test_what_was_measured_before_a_kill_stays(
    tmp_path: Path, recordings: list[str], looked_at: list[str]
) -> None:
    memory = tmp_path / "memory"
    broken_off = Measurer(memory=memory, workers=1).measure(recordings, "files")
    assert next(broken_off) == 1.0
    broken_off.close()
    content = memory.read_text()
    memory.write_text(content + content[: len(content) // 2])  # the last line is incomplete
    looked_at.clear()
    assert measured(memory, recordings) == [1.0, 1.25, 1.5]
    # The thread of the interrupted measurement may still be working.
    assert set(looked_at) == set(recordings[1:])
    assert measured(memory, recordings) == [1.0, 1.25, 1.5]


def test_a_memory_torn_at_any_byte_costs_a_measurement_and_no_more(tmp_path: Path) -> None:
    """Inside a character or inside the last number; the next run continues after the incomplete
    line."""
    paths = [str(tmp_path / name) for name in ("语音.wav", "né.wav")]
    for path in paths:
        soundfile.write(path, np.sin(np.arange(19600)), 16000)
    memory = tmp_path / "memory"
    assert measured(memory, paths) == [1.225, 1.225]
    content = memory.read_bytes()
    for place in range(len(content)):
        memory.write_bytes(content[:place])
        for _ in range(2):
            assert list(Measurer(memory=memory, workers=1).measure(paths, "files")) == [
                1.225,
                1.225,
            ], place


def test_what_cannot_be_used_is_an_error_in_its_place(
    tmp_path: Path, recordings: list[str]
) -> None:
    (tmp_path / "empty.wav").touch()
    (tmp_path / "a\tb.wav").touch()
    paths = [
        recordings[0],
        str(tmp_path / "empty.wav"),
        str(tmp_path / "none.wav"),
        str(tmp_path / "a\tb.wav"),
    ]
    paths.append(os.fsdecode(bytes(tmp_path) + b"/\xff.wav"))
    first, *errors = map(str, measured(tmp_path / "memory", paths))
    assert first == "1.0"
    for error, said in zip(
        errors,
        ("empty (0 bytes)", "No such file", "rename the file", "rename the file"),
        strict=True,
    ):
        assert said in error
    assert r"a\tb.wav" in errors[2] and r"\udcff.wav" in errors[3]


def test_decoding_finds_silence_and_lies(tmp_path: Path, recordings: list[str]) -> None:
    silent, torn = str(tmp_path / "silent.wav"), tmp_path / "torn.mp3"
    soundfile.write(silent, np.zeros(16000), 16000)
    with pytest.raises(AudioError, match=r"silent\.wav: silent"):
        decoded_duration(silent)
    soundfile.write(torn, np.random.default_rng(0).normal(0, 0.1, 64000), 16000, format="MP3")
    torn.write_bytes(torn.read_bytes()[: torn.stat().st_size // 2])
    with pytest.raises(AudioError, match=r"torn\.mp3: .* can be decoded; the header says [34]"):
        decoded_duration(str(torn))
    assert decoded_duration(recordings[1]) == 1.25


def test_a_recording_of_hours_is_decoded(tmp_path: Path) -> None:
    """Longer than a recording that is read whole; the only sound is at the end."""
    path, size = tmp_path / "long.wav", 2 * 16000 * 130 * 60
    header = (b"RIFF", 36 + size, b"WAVE", b"fmt ", 16, 1, 1, 16000, 32000, 2, 16, b"data", size)
    with open(path, "wb") as file:
        file.write(struct.pack("<4sI4s4sIHHIIHH4sI", *header))
        file.seek(size - 240, os.SEEK_CUR)  # leaves a hole, which takes no space on disk
        file.write(bytes(range(240)))
    assert decoded_duration(str(path)) == 130 * 60
