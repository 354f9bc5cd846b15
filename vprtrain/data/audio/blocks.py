"""Reading a long recording block by block, in memory that does not depend on its length."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import soxr

from vprtrain.data.audio.damage import say_once
from vprtrain.data.audio.decoders import DECODERS
from vprtrain.data.audio.files import AudioFile
from vprtrain.data.audio.reading import AudioError, require_believable, require_content
from vprtrain.data.audio.track import Channel, ChannelError, DecodeError, Track
from vprtrain.errors import require_sample_rate


def read_blocks(
    audio: AudioFile | Track,
    *,
    sample_rate: int = 16000,
    duration: float | None = None,
    channel: Channel = 0,
) -> Iterator[np.ndarray]:
    """One channel of a recording, or the mix, in blocks: float32 ``[samples]`` at the sample rate.

    The samples are those of :func:`vprtrain.data.audio.read_audio`, but are not scaled down if some
    are beyond 1, and not looked at. The first decoder that gives a block decodes the rest too.

    Args:
        audio: an audio file, however long, or an opened recording.
        sample_rate: Hz.
        duration: seconds from the beginning; ``None`` reads to the end.
        channel: from 0, or ``"mix"``.

    Raises:
        AudioError: the file is missing or cannot be decoded, in some cases after some blocks; or it
            does not have the channel.
        UsageError: ``sample_rate`` is not one.
    """
    require_sample_rate("sample_rate", sample_rate)
    if isinstance(audio, Track):
        try:
            require_believable(audio, channel)
            yield from _resampled(audio, sample_rate, duration, channel)
        except DecodeError as error:
            raise AudioError(f"{audio}: {error}") from error
        return
    require_content(audio)
    reasons = []
    for decoder in DECODERS:
        begun = False
        try:
            with decoder.open(audio) as track:
                require_believable(track, channel)
                for block in _resampled(track, sample_rate, duration, channel):
                    begun = True
                    yield block
            if not begun:
                raise DecodeError("no samples")
            if track.damage:
                say_once(audio, track.damage)
            return
        except DecodeError as error:
            if begun or isinstance(error, ChannelError):
                raise AudioError(f"{audio}: {error}") from error
            reasons.append(f"{decoder.name}: {error}")
    raise AudioError(f"{audio}: cannot be decoded as audio ({'; '.join(reasons)})")


def _resampled(
    track: Track, sample_rate: int, duration: float | None, channel: Channel
) -> Iterator[np.ndarray]:
    count = None if duration is None else round(duration * track.rate)
    blocks = track.blocks(0, count, channel)
    if track.rate == sample_rate:
        yield from blocks
        return
    resampler = soxr.ResampleStream(track.rate, sample_rate, 1, dtype="float32", quality="HQ")
    for block in blocks:
        yield resampler.resample_chunk(np.ascontiguousarray(block))
    yield resampler.resample_chunk(np.zeros(0, np.float32), last=True)
