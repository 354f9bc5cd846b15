"""Reading in a process of its own: the same samples, and nothing that a reader does to its process
reaches the caller."""

from __future__ import annotations

import json
import logging
import multiprocessing
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path

import breaking_readers
import numpy as np
import pytest
import soundfile

from vprtrain.data.audio.files import InMemory
from vprtrain.data.audio.isolated import IsolatedReader
from vprtrain.data.audio.reading import AudioError, read_audio


@pytest.fixture(scope="module")
def reader() -> Iterator[IsolatedReader]:
    with IsolatedReader(memory=1 << 30) as reader:
        yield reader


@pytest.mark.parametrize("name", ["ok_reference.wav", "id3_art.mp3", "aac.m4a", "voice.opus"])
def test_the_samples_are_the_same(reader: IsolatedReader, test_data: Path, name: str) -> None:
    path = test_data / "bad_audio" / name
    expected = read_audio(path)
    np.testing.assert_array_equal(reader.read(path), expected)
    np.testing.assert_array_equal(reader.read(InMemory("a", path.read_bytes())), expected)
    np.testing.assert_array_equal(
        reader.read(path, sample_rate=8000, start=0.3, duration=0.5),
        read_audio(path, sample_rate=8000, start=0.3, duration=0.5),
    )


def test_refusals_and_warnings_are_handed_on(
    reader: IsolatedReader, test_data: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = test_data / "bad_audio" / "text_renamed.wav"
    with pytest.raises(AudioError, match=f"^{re.escape(str(path))}: cannot be decoded as audio"):
        reader.read(path)
    with caplog.at_level(logging.WARNING):
        reader.read(test_data / "bad_audio" / "truncated.wav")
    assert "truncated.wav: damaged: 0.70 s shorter" in caplog.text


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("crash", r"a\.wav: reading it ended the process \(SIGABRT\)$"),
        ("fill_memory", r"a\.wav: reading it takes more than 1024 MB$"),
        ("write", r"a\.wav: cannot be read \(OSError: .*File too large"),
        ("defect", r"a\.wav: cannot be read \(KeyError: 'two.{1,3}lines'\)$"),
    ],
)
def test_a_reader_that_breaks_is_an_audio_error_and_the_next_call_works(
    reader: IsolatedReader, test_data: Path, tmp_path: Path, name: str, message: str
) -> None:
    with pytest.raises(AudioError, match=message):
        reader.call(getattr(breaking_readers, name), str(tmp_path / "a.wav"))
    assert len(reader.read(test_data / "bad_audio" / "ok_reference.wav")) == 22400


@pytest.mark.parametrize("name", ["sleep", "spin"])
def test_a_reader_that_does_not_end_is_ended(test_data: Path, name: str) -> None:
    with (
        IsolatedReader(seconds=0.5) as reader,
        pytest.raises(AudioError, match=r"^a\.wav: reading it took too long$"),
    ):
        reader.call(getattr(breaking_readers, name), "a.wav")


def test_an_interrupted_call_leaves_no_reply_behind(
    test_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = (test_data / "bad_audio" / name for name in ("rate_8000.wav", "pcm_24.wav"))
    with IsolatedReader() as reader:
        reader.read(first)
        with monkeypatch.context() as patch:
            patch.setattr(json, "loads", interrupt)
            with pytest.raises(KeyboardInterrupt):
                reader.read(first)
        np.testing.assert_array_equal(reader.read(second), read_audio(second))


def interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def test_threads_share_the_workers(test_data: Path) -> None:
    path = test_data / "bad_audio" / "ok_reference.wav"
    expected = read_audio(path)
    with IsolatedReader(workers=2) as reader, ThreadPoolExecutor(4) as threads:
        for samples in threads.map(lambda _: reader.read(path), range(20)):
            np.testing.assert_array_equal(samples, expected)


def test_a_worker_does_not_import_paddle(reader: IsolatedReader) -> None:
    assert reader.call(breaking_readers.has_paddle, "a.wav").tolist() == [0]


def level(value: float) -> InMemory:
    """A recording whose every sample has one value."""
    file = BytesIO()
    soundfile.write(file, np.full(1600, value, "float32"), 16000, format="WAV", subtype="PCM_16")
    return InMemory("level", file.getvalue())


def test_processes_that_are_forked_after_the_first_call_get_their_own_samples() -> None:
    """As a service does that loads before it forks its workers."""
    context = multiprocessing.get_context("fork")
    results = context.Queue()

    def child(reader: IsolatedReader, value: float) -> None:
        found = {round(float(reader.read(level(value))[0]), 2) for _ in range(10)}
        reader.close()
        results.put((value, found))

    with IsolatedReader() as reader:
        reader.read(level(0.01))
        values = [0.1, 0.2, 0.3]
        children = [context.Process(target=child, args=(reader, value)) for value in values]
        for process in children:
            process.start()
        for process in children:
            process.join(120)
        assert dict(results.get(timeout=10) for _ in values) == {one: {one} for one in values}
        assert round(float(reader.read(level(0.04))[0]), 2) == 0.04
