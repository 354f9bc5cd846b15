"""Frames of FFmpeg as float32 samples."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from vprtrain.data.audio.track import Channel, select

_BATCH = 4096  # samples that are converted together
_MOST_PLANES = 7  # PyAV lists one plane too many of a frame with more


class Conversion:
    """The conversion of all frames to the rate and the channels of the first one."""

    def __init__(self, first: Any) -> None:
        self.rate: int = first.sample_rate
        self._layout = first.layout
        self.channels: int = self._layout.nb_channels

    def convert(self, frames: Iterable[Any], channel: Channel) -> Iterator[np.ndarray]:
        """One channel of frames, or the mix, in blocks of float32 ``[samples]``."""
        import av

        resampler, setup = None, None
        for frame in frames:
            found = (frame.format.name, frame.layout.name, frame.sample_rate)
            if found != setup:
                yield from self._interleaved(resampler, None, channel)
                setup, resampler = found, None
                if not self._is_ready(*found):
                    resampler = av.AudioResampler("flt", self._layout, self.rate, frame_size=_BATCH)
            if resampler is None:
                planes = [np.frombuffer(each, np.float32, frame.samples) for each in frame.planes]
                yield np.mean(planes, axis=0) if channel == "mix" else planes[channel]
            else:
                yield from self._interleaved(resampler, frame, channel)
        yield from self._interleaved(resampler, None, channel)

    def _is_ready(self, format: str, layout: str, rate: int) -> bool:
        """True if a frame has a plane of float32 for each channel already."""
        return (format, layout, rate) == (
            "fltp",
            self._layout.name,
            self.rate,
        ) and self.channels <= _MOST_PLANES

    def _interleaved(self, resampler: Any, frame: Any, channel: Channel) -> Iterator[np.ndarray]:
        for part in resampler.resample(frame) if resampler is not None else ():
            yield select(part.to_ndarray().reshape(-1, self.channels), channel)
