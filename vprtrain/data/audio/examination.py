"""Decoding a whole recording to find out what is in it."""

from __future__ import annotations

import math
from typing import NamedTuple

from vprtrain.data.audio.files import AudioFile
from vprtrain.data.audio.reading import AudioError, first_decoded, require_believable
from vprtrain.data.audio.track import LAST_SECOND, Channel, Damage, DecodeError, Track


class Examination(NamedTuple):
    """What is in a recording, by decoding it."""

    samples: int
    """Of one channel, at the recording's own rate"""
    rate: int
    """Hz"""
    channels: int
    lowest: float
    highest: float
    """The range of the samples of the examined channel; a recording without sound has one value."""
    damage: Damage
    """What was lost; false if nothing was"""

    @property
    def seconds(self) -> float:
        """The duration of what can be decoded."""
        return self.samples / self.rate


def examine_audio(audio: AudioFile, *, channel: Channel = 0) -> Examination:
    """Decode a whole recording, however long, without keeping it. Nothing is logged.

    Args:
        audio: an audio file.
        channel: from 0, or ``"mix"``.

    Raises:
        AudioError: as :func:`vprtrain.data.audio.read_audio`, but a recording may be as long as a
            day.
    """

    def attempt(track: Track) -> Examination:
        require_believable(track, channel)
        samples, lowest, highest = 0, math.inf, -math.inf
        for block in track.blocks(0, None, channel):
            samples += len(block)
            # In this order a NaN is kept.
            lowest, highest = min(float(block.min()), lowest), max(float(block.max()), highest)
            if samples > LAST_SECOND * track.rate:
                raise DecodeError(f"longer than {LAST_SECOND} s")
            if not math.isfinite(highest - lowest):
                raise AudioError(f"{audio}: some samples are not finite (NaN or infinity)")
        if not samples:
            raise DecodeError("no samples")
        return Examination(samples, track.rate, track.channels, lowest, highest, track.damage)

    return first_decoded(audio, attempt)
