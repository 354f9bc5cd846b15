"""An opened recording: blocks of samples, and what of it was lost."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Literal, NamedTuple, TypeAlias

import numpy as np

from vprtrain.errors import UsageError, require_at_least, shown

Channel: TypeAlias = int | Literal["mix"]
"""A channel of a recording, counted from 0; ``"mix"`` is the mean of all channels"""

BLOCK_SAMPLES = 1 << 16
"""Decoded at once, over all channels, so that a wrong header cannot cause a large allocation."""

LAST_SECOND = 24 * 3600
"""No recording is believed to be longer, in seconds."""


TOLERANCE = 0.05
"""Seconds by which a recording may be shorter than its header says without a word."""


class DecodeError(Exception):
    """A decoder cannot read a file; another one may."""


class ChannelError(DecodeError):
    """A recording does not have the wanted channel; no decoder finds it."""


class Damage(NamedTuple):
    """What of a recording was lost in decoding it; false if nothing was."""

    skipped: int = 0
    """Packets that cannot be decoded; they are left out."""
    packets: int = 0
    """The packets that were decoded or skipped, if any was skipped"""
    missing: float = 0.0
    """Seconds by which it is shorter than its header says; as a rule the file was cut off"""
    broken: bool = False
    """True if reading the file ended with an error before its end"""

    def __bool__(self) -> bool:
        return self.skipped > 0 or self.missing > 0 or self.broken

    def __str__(self) -> str:
        parts = []
        if self.skipped:
            parts.append(
                f"{self.skipped} of {self.packets} packets cannot be decoded and are left out"
            )
        if self.missing:
            parts.append(f"{self.missing:.2f} s shorter than its header says")
        if self.broken:
            parts.append("its end cannot be read")
        return "; ".join(parts)


class Track(ABC):
    """An opened recording. Reading raises :class:`DecodeError` if it fails."""

    rate: int
    """Hz, from the header; it may be absurd"""
    channels: int
    damage: Damage = Damage()
    """What the blocks that were read have lost"""

    @abstractmethod
    def blocks(self, first: int, count: int | None, channel: Channel) -> Iterator[np.ndarray]:
        """Samples of one channel or of the mix, in blocks of float32 ``[samples]``.

        Args:
            first: the index of the first sample.
            count: the number of samples, fewer at the end of the recording; ``None`` for all.
            channel: one that the track has, or the mix.
        """

    def length(self) -> int:
        """The number of samples. They are decoded unless something exact is known."""
        return self.count()

    def count(self) -> int:
        """The number of samples that are decoded."""
        samples = 0
        for block in self.blocks(0, None, 0):
            samples += len(block)
            if samples > LAST_SECOND * self.rate:
                raise DecodeError(f"longer than {LAST_SECOND} s")
        return samples


def require_channel(channel: Channel) -> None:
    """Raise :class:`UsageError` unless the channel is a number from 0, or the mix."""
    if isinstance(channel, str):
        if channel != "mix":
            raise UsageError(f'channel is {shown(channel)}; expected a number or "mix"')
    else:
        require_at_least("channel", channel, 0)


def select(samples: np.ndarray, channel: Channel) -> np.ndarray:
    """One channel, or the mean, of ``[samples, channels]``: ``[samples]`` of the same dtype."""
    return samples.mean(axis=1, dtype=samples.dtype) if channel == "mix" else samples[:, channel]
