"""The least that filter banks take in NumPy and SciPy: the samples of frames, Fourier transforms,
powers, a product with filters, logarithms."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import scipy.fft

_LENGTH, _SHIFT, _FFT, _FILTERS = 400, 160, 512, 80


def extraction(*, batch: int, samples: int) -> Callable[[], float]:
    rng = np.random.default_rng(0)
    waveforms = rng.normal(0, 0.1, (batch, samples)).astype("float32")
    filters = rng.random((_FFT // 2 + 1, _FILTERS), "float32")
    padded = np.zeros(((samples - _LENGTH) // _SHIFT + 1, _FFT), "float32")

    def step() -> float:
        for waveform in waveforms:
            padded[:, :_LENGTH] = np.lib.stride_tricks.sliding_window_view(waveform, _LENGTH)[
                ::_SHIFT
            ]
            parts = scipy.fft.rfft(padded, axis=1).view("float32")
            np.square(parts, out=parts)
            energies = (parts[:, ::2] + parts[:, 1::2]) @ filters
            np.log(energies, out=energies)
        return float(abs(energies[0]).sum())

    return step
