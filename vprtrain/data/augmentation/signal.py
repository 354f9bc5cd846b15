"""Augmentations that need only the waveform."""

from __future__ import annotations

import numpy as np

from vprtrain.data.augmentation.base import Augmentation, ordered_pair
from vprtrain.errors import UsageError

_FRAME_SECONDS = 0.02


class Volume(Augmentation):
    """A gain, drawn uniformly in dB. The default range and probability are ppvector's."""

    def __init__(
        self, *, gain_db: tuple[float, float] = (-15.0, 15.0), probability: float = 0.2
    ) -> None:
        super().__init__(probability=probability)
        self.gain_db = ordered_pair(self, "gain_db", gain_db)

    def apply(self, waveform: np.ndarray, rng: np.random.Generator, sample_rate: int) -> np.ndarray:
        return waveform * np.float32(10 ** (rng.uniform(*self.gain_db) / 20))


class SilenceTrimming(Augmentation):
    """Removes pauses: parts whose level stays ``threshold_db`` below the loudest 20 ms.

    Args:
        threshold_db: dB below the loudest 20 ms.
        padding_seconds: this much of a pause is kept on either side of the speech.
        min_seconds: the waveform is left unchanged if less than this would remain, for example when
            a click is its loudest part.
        probability: of trimming.
    """

    def __init__(
        self,
        *,
        threshold_db: float = 35.0,
        padding_seconds: float = 0.1,
        min_seconds: float = 0.5,
        probability: float = 1.0,
    ) -> None:
        super().__init__(probability=probability)
        for name, value in (("threshold_db", threshold_db), ("padding_seconds", padding_seconds)):
            if not value >= 0:
                raise UsageError(f"SilenceTrimming: {name} is {value}; expected 0 or more")
        self.threshold_db = threshold_db
        self.padding_seconds = padding_seconds
        self.min_seconds = min_seconds

    def apply(self, waveform: np.ndarray, rng: np.random.Generator, sample_rate: int) -> np.ndarray:
        frame = round(_FRAME_SECONDS * sample_rate)
        starts = np.arange(0, len(waveform), frame)
        energies = np.add.reduceat(np.square(waveform), starts)
        loud = energies > energies.max() * 10 ** (-self.threshold_db / 10)
        reach = round(self.padding_seconds / _FRAME_SECONDS)
        kept = (
            np.convolve(loud, np.ones(2 * reach + 1), mode="same") > 0
            if len(loud) > 2 * reach
            else loud | loud.any()
        )
        speech = waveform[np.repeat(kept, frame)[: len(waveform)]]
        return speech if len(speech) >= self.min_seconds * sample_rate else waveform
