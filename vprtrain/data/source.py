"""Where the audio of a manifest's utterances is, and how a part of one is read."""

from __future__ import annotations

import numpy as np

from vprtrain.data.audio.files import ByteRange
from vprtrain.data.audio.reading import audio_duration
from vprtrain.data.manifest import Manifest
from vprtrain.data.reading import Reading


class Source:
    """The utterances of a manifest, each in the file that the manifest names.

    A subclass that keeps the audio elsewhere overrides :meth:`locate`.
    """

    def __init__(self, *, manifest: Manifest, reading: Reading = Reading()) -> None:
        self.manifest = manifest
        self.reading = reading

    def locate(self, index: int) -> str | ByteRange:
        """Where the audio of an utterance is."""
        return self.manifest[index].path

    def seconds(self, index: int) -> float:
        """The duration of an utterance in seconds: the manifest's, or else the file header's.

        Raises:
            AudioError: as :meth:`read`.
        """
        duration = self.manifest[index].duration
        return audio_duration(self.locate(index)) if duration is None else duration

    def read(self, index: int, start: float, duration: float) -> np.ndarray:
        """A part of an utterance: float32 ``[samples]``, shorter where the utterance ends.

        Args:
            start: seconds from the beginning.
            duration: seconds.

        Raises:
            AudioError: the recording cannot be used; the message names it.
        """
        return self.reading.read(self.locate(index), start=start, duration=duration)
