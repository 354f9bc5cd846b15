"""How recordings are read: the settings that training and evaluation share."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from vprtrain.data.audio.files import AudioFile
from vprtrain.data.audio.reading import read_audio
from vprtrain.data.audio.track import Channel, require_channel
from vprtrain.data.loader import WORKER_TIMEOUT, load_in_order
from vprtrain.errors import require_at_least, require_sample_rate

MIN_SECONDS = 0.5
"""The shortest waveform that a network is given"""

_Task = TypeVar("_Task")
_Result = TypeVar("_Result")


@dataclass(frozen=True, kw_only=True)
class Reading:
    """How recordings are read: at which sample rate, which channel, by how many threads.

    Raises:
        UsageError: a value is out of range.
    """

    sample_rate: int = 16000
    """Hz; every recording is resampled to it."""
    channel: Channel = 0
    """The channel that is read of a recording with several, counted from 0; or ``"mix"``, the mean
    of all"""
    workers: int = 2
    """Threads that read; with 0 the calling thread reads."""
    worker_timeout: float = WORKER_TIMEOUT
    """Seconds that one recording may take to load; not enforced with 0 workers"""

    def __post_init__(self) -> None:
        require_sample_rate("sample_rate", self.sample_rate)
        require_channel(self.channel)
        require_at_least("workers", self.workers, 0)
        require_at_least("worker_timeout", self.worker_timeout, 0)

    def read(
        self, audio: AudioFile, *, start: float = 0.0, duration: float | None = None
    ) -> np.ndarray:
        """A recording, or ``duration`` seconds of it from ``start`` on: float32 ``[samples]``.

        Raises:
            AudioError: as :func:`vprtrain.data.audio.read_audio`.
        """
        return read_audio(
            audio,
            sample_rate=self.sample_rate,
            start=start,
            duration=duration,
            channel=self.channel,
        )

    def load(
        self,
        function: Callable[[_Task], _Result],
        tasks: Iterable[_Task],
        *,
        prefetch: int,
        describe: Callable[[_Task], str],
    ) -> Generator[_Result, None, None]:
        """:func:`vprtrain.data.load_in_order` with these workers and this timeout."""
        return load_in_order(
            function,
            tasks,
            workers=self.workers,
            prefetch=prefetch,
            timeout=self.worker_timeout,
            describe=describe,
        )
