"""Single packets of Opus, as a live connection carries them."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate, pairwise

import numpy as np

from vprtrain.data.audio.conversion import Conversion
from vprtrain.data.audio.files import InMemory
from vprtrain.data.audio.reading import AudioError
from vprtrain.errors import cause

OPUS_RATE = 48000
"""Hz: what every Opus stream is decoded to"""
PREROLL = 5
"""Packets before the first one of interest: a decoder needs 80 ms to converge (RFC 7845, 4.6)."""


def decode_packets(audio: InMemory, *, sizes: Sequence[int], skip: int) -> np.ndarray:
    """The samples of packets in a row: float32 ``[samples]`` of one channel at :data:`OPUS_RATE`.

    Args:
        audio: the packets, one after the other.
        sizes: the bytes of each.
        skip: of so many packets at the beginning the samples are left out.

    Raises:
        AudioError: a packet cannot be decoded.
    """
    import av

    ends = [0, *accumulate(sizes)]
    packets = [av.Packet(audio.content[start:end]) for start, end in pairwise(ends)]
    try:
        context = av.CodecContext.create("opus", "r")
        assert isinstance(context, av.AudioCodecContext)
        context.sample_rate, context.layout = OPUS_RATE, "mono"
        frames = [frame for packet in packets for frame in context.decode(packet)]
        known = sum(frame.samples for frame in frames[:skip])
        parts = [*Conversion(frames[0]).convert(frames, 0)] if frames else []
    except (av.FFmpegError, ValueError) as error:
        raise AudioError(f"{audio}: an Opus packet cannot be decoded ({cause(error)})") from error
    return np.concatenate([np.zeros(0, np.float32), *parts])[known:]
