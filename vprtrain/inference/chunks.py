"""Samples that come in chunks, in the form and at the rate that a model takes."""

from __future__ import annotations

import numpy as np
import soxr

from vprtrain.data.audio.reading import AudioError
from vprtrain.errors import shown

_BLOCKS_A_SECOND = 50


class StreamResampler:
    """Resamples a stream in blocks of one length, so that the lengths of chunks do not matter."""

    def __init__(self, source: int, target: int) -> None:
        self._rates = (source, target)
        self._rest = np.zeros(0, np.float32)
        self._soxr = self._new()

    def _new(self) -> soxr.ResampleStream:
        return soxr.ResampleStream(*self._rates, 1, dtype="float32", quality="HQ")

    def feed(self, samples: np.ndarray) -> np.ndarray:
        """What the samples complete at the other rate."""
        if self._rates[0] == self._rates[1]:
            return samples
        samples = np.concatenate([self._rest, samples])
        block = max(1, self._rates[0] // _BLOCKS_A_SECOND)
        whole = len(samples) // block * block
        self._rest = samples[whole:]
        blocks = samples[:whole].reshape(-1, block)
        return np.concatenate(
            [self._rest[:0], *(self._soxr.resample_chunk(each) for each in blocks)]
        )

    def finish(self) -> np.ndarray:
        """The rest at the other rate."""
        if self._rates[0] == self._rates[1]:
            return self._rest
        rest = self._soxr.resample_chunk(self._rest, last=True)
        self._rest, self._soxr = self._rest[:0], self._new()
        return rest


def waveform_of(samples: np.ndarray) -> np.ndarray:
    """float32 ``[samples]`` in [-1, 1].

    Raises:
        AudioError: the samples have another form, or are not finite.
    """
    kinds = ("int16", "float16", "float32", "float64")
    if not isinstance(samples, np.ndarray) or samples.ndim != 1 or samples.dtype.name not in kinds:
        raise AudioError(
            f"the stream: a chunk is {shown(samples)}; expected an array [samples] of one of "
            f"{', '.join(kinds)}"
        )
    if samples.dtype == np.int16:
        return samples * np.float32(2.0**-15)
    waveform = samples.astype(np.float32)
    if not np.isfinite(waveform).all():
        raise AudioError("the stream: some samples are not finite (NaN or infinity)")
    return waveform.clip(-1, 1)
