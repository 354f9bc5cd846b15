"""Where the utterances of a manifest lie, and how a part of one is read."""

from __future__ import annotations

import numpy as np

from vprtrain.data.audio.decoders import ByteRange
from vprtrain.data.audio.reading import audio_duration, read_audio
from vprtrain.data.manifest import Manifest


class Source:
    """Utterances in files of their own, as the manifest says. A subclass has them elsewhere: see
    :meth:`locate`."""

    def __init__(self, *, manifest: Manifest, sample_rate: int, channel: int = 0) -> None:
        self.manifest = manifest
        self.sample_rate = sample_rate
        self.channel = channel

    def locate(self, index: int) -> str | ByteRange:
        """The recording of an utterance."""
        return self.manifest[index].path

    def seconds(self, index: int) -> float:
        """An utterance's length: the manifest's, else its header's. Raises as :meth:`read`."""
        duration = self.manifest[index].duration
        return audio_duration(self.locate(index)) if duration is None else duration

    def read(self, index: int, start: float, duration: float) -> np.ndarray:
        """A part of an utterance, float32 ``[samples]``, shorter where it ends; times are in
        seconds.

        Raises :class:`vprtrain.data.audio.reading.AudioError`, which names the recording.
        """
        return read_audio(
            self.locate(index),
            sample_rate=self.sample_rate,
            start=start,
            duration=duration,
            channel=self.channel,
        )
