"""Mutants of audio files, made from seeds, and what reading them costs; imported by worker
processes."""

from __future__ import annotations

import random
import time
from pathlib import Path

import numpy as np
from mutants import mutated_bytes
from peak_memory import peak_memory

from vprtrain.data.audio.examination import examine_audio
from vprtrain.data.audio.files import InMemory
from vprtrain.data.audio.reading import AudioError, audio_duration, read_audio

_HEAD = 600  # bytes


def mutant(seeds: list[bytes], number: int) -> bytes:
    """A changed file; half of the changes are near the beginning, where the headers are."""
    rng = random.Random(number)
    data = seeds[number % len(seeds)]
    kind = rng.random()
    if kind < 0.5:
        return mutated_bytes(data[:_HEAD], rng) + data[_HEAD:]
    if kind < 0.9:
        return mutated_bytes(data, rng)
    other = rng.choice(seeds)
    return data[: rng.randrange(len(data))] + other[rng.randrange(len(other)) :]


def read_in_every_way(audio: InMemory) -> np.ndarray:
    """The refused ways, the seconds and the bytes of memory that they took together."""
    Path("/proc/self/clear_refs").write_text("5")  # the peak memory begins anew
    before, begun, refused = peak_memory(), time.thread_time(), 0
    for read in (
        lambda: read_audio(audio, duration=60),
        lambda: read_audio(audio, start=0.4, duration=0.3, channel="mix"),
        lambda: audio_duration(audio),
        lambda: examine_audio(audio),
    ):
        try:
            read()
        except AudioError as error:
            refused += 1
            assert "\n" not in str(error) and len(str(error)) < 500, str(error)
            assert "allocate" not in str(error), str(error)
    return np.array([refused, time.thread_time() - begun, peak_memory() - before], np.float32)
