"""Every mutant of an audio file is read or refused, within 10 seconds and 1 GB."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from audio_mutants import mutant, read_in_every_way
from encoded_audio import KINDS, Kind, encoded, made, speech_like

from vprtrain.data.audio.files import InMemory
from vprtrain.data.audio.isolated import IsolatedReader
from vprtrain.data.audio.reading import AudioError

FAST, SLOW = 140, 1_400
MOST_BYTES = 1 << 30


@pytest.fixture(scope="module")
def seeds() -> list[bytes]:
    eight = encoded(Kind("ipod", "aac", 48000), speech_like(1, 48000, channels=8), layout="7.1")
    return [*(made(name, 1) for name in KINDS), eight]


@pytest.fixture(scope="module")
def reader() -> Iterator[IsolatedReader]:
    # The time of a call has room for a busy machine; what the reading takes is measured.
    with IsolatedReader(memory=2 * MOST_BYTES, seconds=60) as reader:
        yield reader


def assert_all_end_well(numbers: range, seeds: list[bytes], reader: IsolatedReader) -> None:
    wrong, refused = [], 0
    for number in numbers:
        try:
            ways, seconds, size = reader.call(
                read_in_every_way, InMemory("mutant", mutant(seeds, number))
            )
        except AudioError as error:
            wrong.append((number, str(error)))
            continue
        refused += ways > 0
        if seconds > 10 or size > MOST_BYTES:
            wrong.append((number, f"{seconds} s, {size} bytes"))
    assert not wrong, wrong[:10]
    assert len(numbers) / 20 < refused < len(numbers) * 0.95


def test_mutants_end_well(seeds: list[bytes], reader: IsolatedReader) -> None:
    assert_all_end_well(range(FAST), seeds, reader)


@pytest.mark.slow
def test_many_mutants_end_well(seeds: list[bytes], reader: IsolatedReader) -> None:
    assert_all_end_well(range(FAST, FAST + SLOW), seeds, reader)
