"""The embeddings of many recordings, in batches of similar lengths."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing
from typing import TypeVar

import numpy as np

from vprtrain.data.audio.reading import AudioError
from vprtrain.data.audio.speech import Audio
from vprtrain.data.loader import WORKER_TIMEOUT, load_in_order
from vprtrain.data.whole_utterances import MAX_BATCH_SECONDS

WINDOW_SECONDS = 1800.0
"""Audio that is sorted by length at once: 115 MB at 16 kHz"""

_Key = TypeVar("_Key")


def read_each(
    audios: Iterable[tuple[str, Audio]], read: Callable[[str, Audio], np.ndarray], *, workers: int
) -> Generator[tuple[str, np.ndarray | AudioError], None, None]:
    """The waveform of each recording, or why it cannot be used, by name and in the given order.

    Args:
        workers: threads that read ahead; with 0 the calling thread reads.
    """

    def attempt(named: tuple[str, Audio]) -> tuple[str, np.ndarray | AudioError]:
        name, audio = named
        try:
            return name, read(name, audio)
        except AudioError as error:
            return name, error

    return load_in_order(
        attempt,
        audios,
        workers=workers,
        prefetch=4 * workers,
        timeout=WORKER_TIMEOUT,
        describe=lambda named: named[0],
    )


def embed_by_length(
    waveforms: Iterable[tuple[_Key, np.ndarray | AudioError]],
    embed: Callable[[Sequence[np.ndarray]], np.ndarray],
    *,
    sample_rate: int,
    threads: int = 1,
) -> Iterator[tuple[_Key, np.ndarray | AudioError]]:
    """The embedding of each waveform, in the given order; errors are handed on in their places.

    One thread computes batches of similar lengths. Several threads compute one waveform each, while
    the next ones are read.

    Args:
        waveforms: float32 ``[samples]`` at ``sample_rate``.
        embed: gives the embeddings ``[waveforms, dimension]`` of at most two minutes of audio,
            padding included, or of one longer waveform.
        threads: how many call ``embed``.
    """
    if threads > 1:
        yield from _embed_each(waveforms, embed, threads)
        return
    window: list[tuple[_Key, np.ndarray | AudioError]] = []
    samples = 0
    for key, waveform in waveforms:
        window.append((key, waveform))
        samples += 0 if isinstance(waveform, AudioError) else len(waveform)
        if samples >= WINDOW_SECONDS * sample_rate:
            yield from _embed_window(window, embed, sample_rate)
            window, samples = [], 0
    yield from _embed_window(window, embed, sample_rate)


def _embed_each(
    waveforms: Iterable[tuple[_Key, np.ndarray | AudioError]],
    embed: Callable[[Sequence[np.ndarray]], np.ndarray],
    threads: int,
) -> Iterator[tuple[_Key, np.ndarray | AudioError]]:
    def attempt(
        named: tuple[_Key, np.ndarray | AudioError],
    ) -> tuple[_Key, np.ndarray | AudioError]:
        key, waveform = named
        return key, waveform if isinstance(waveform, AudioError) else embed([waveform])[0]

    with closing(
        load_in_order(attempt, waveforms, workers=threads, prefetch=2 * threads)
    ) as embedded:
        yield from embedded


def _embed_window(
    window: Sequence[tuple[_Key, np.ndarray | AudioError]],
    embed: Callable[[Sequence[np.ndarray]], np.ndarray],
    sample_rate: int,
) -> Iterator[tuple[_Key, np.ndarray | AudioError]]:
    waveforms = {
        place: waveform
        for place, (_, waveform) in enumerate(window)
        if not isinstance(waveform, AudioError)
    }
    embeddings: dict[int, np.ndarray] = {}
    for places in _batches(waveforms, MAX_BATCH_SECONDS * sample_rate):
        rows = embed([waveforms[place] for place in places])
        embeddings.update(zip(places, rows, strict=True))
    for place, (key, waveform) in enumerate(window):
        yield key, waveform if isinstance(waveform, AudioError) else embeddings[place]


def _batches(waveforms: dict[int, np.ndarray], limit: float) -> Iterator[list[int]]:
    """The places of the waveforms, sorted by length, in batches of at most ``limit`` samples."""
    batch: list[int] = []
    for place in sorted(waveforms, key=lambda place: len(waveforms[place])):
        if batch and (len(batch) + 1) * len(waveforms[place]) > limit:
            yield batch
            batch = []
        batch.append(place)
    if batch:
        yield batch
