"""Log mel filter banks as Kaldi computes them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np
import paddle

from vprtrain.errors import (
    require_choice,
    require_flags,
    require_number,
    require_sample_rate,
)
from vprtrain.features.extractor import MOST_MILLISECONDS, Array, FeatureExtractor
from vprtrain.features.mel import kaldi_filters, require_mels
from vprtrain.features.steps import (
    LEAST_FLOAT32,
    MOST_FLOAT32,
    FrameStep,
    Log,
    Projection,
    Spectrum,
)

_WINDOWS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "povey": lambda phase: (0.5 - 0.5 * np.cos(phase)) ** 0.85,
    "hamming": lambda phase: 0.54 - 0.46 * np.cos(phase),
}
_KALDI_FLOOR = float(np.finfo(np.float32).eps)


class Fbank(FeatureExtractor):
    """Natural-log mel filter-bank energies, equal to Kaldi's (snipped edges, no energy column).

    For each frame: subtract its mean, ``x[t] - preemphasis * x[t-1]``, window, power spectrum of
    the next power of two, triangular filters equally spaced on ``1127 ln(1 + f / 700)``, natural
    logarithm.

    Args:
        n_mels: the number of filters, and of values of a feature frame.
        sample_rate: of the waveforms, in Hz.
        frame_length_ms: the length of a frame.
        frame_shift_ms: the time from the start of a frame to the start of the next.
        f_min: the lower end of the first filter, in Hz.
        f_max: the upper end of the last filter, in Hz; half the sample rate by default.
        window: the window's shape.
        preemphasis: the factor of the sample before.
        int16_scale: multiply the samples by 32768, as WeSpeaker's weights expect.
        floor: smaller energies are raised to it. Kaldi has float32's epsilon, paddleaudio 1e-7.
        mean_norm: subtract every feature's mean over the utterance's frames.
        variance_norm: then divide by its standard deviation over these frames.
        dither: the standard deviation of Gaussian noise that is added to the scaled samples, in
            training mode only. It comes from Paddle's generator like dropout's, so the engine's
            seed of the step determines it, on both paths and for any data loader. A frame's noise
            has Kaldi's distribution, but overlapping frames share it; Kaldi draws it anew.
            :meth:`on_host` and :meth:`on_device` themselves add none.
        level: the root mean square that every waveform is brought to first, in dB of full scale;
            by default none. The features of a logarithm then differ near the floor only.

    Raises:
        UsageError: the options do not make a filter bank.
    """

    def __init__(
        self,
        *,
        n_mels: int = 80,
        sample_rate: int = 16000,
        frame_length_ms: float = 25.0,
        frame_shift_ms: float = 10.0,
        f_min: float = 20.0,
        f_max: float | None = None,
        window: Literal["povey", "hamming"] = "povey",
        preemphasis: float = 0.97,
        int16_scale: bool = False,
        floor: float = _KALDI_FLOOR,
        mean_norm: bool = False,
        variance_norm: bool = False,
        dither: float = 0.0,
        level: float | None = None,
    ) -> None:
        require_sample_rate("sample_rate", sample_rate)
        require_number("frame_length_ms", frame_length_ms, above=0, most=MOST_MILLISECONDS)
        require_number("frame_shift_ms", frame_shift_ms, least=0, most=MOST_MILLISECONDS)
        require_choice("window", window, _WINDOWS)
        require_number("preemphasis", preemphasis, least=-1, most=1)
        require_flags(int16_scale=int16_scale)
        require_number("floor", floor, least=LEAST_FLOAT32, most=MOST_FLOAT32)
        require_number("dither", dither, least=0, most=MOST_FLOAT32)
        require_mels(n_mels, sample_rate, f_min, f_max)
        super().__init__(
            output_size=n_mels,
            frame_length=int(sample_rate * frame_length_ms / 1000),
            frame_shift=int(sample_rate * frame_shift_ms / 1000),
            centred=False,
            mean_norm=mean_norm,
            variance_norm=variance_norm,
            level=level,
        )
        scale = 32768 if int16_scale else 1
        self.sample_rate = sample_rate
        self._dither = dither / scale
        fft_size = 1 << (self.frame_length - 1).bit_length()
        phase = 2 * np.pi * np.arange(self.frame_length) / (self.frame_length - 1)
        filters = kaldi_filters(
            n_mels=n_mels, fft_size=fft_size, sample_rate=sample_rate, f_min=f_min, f_max=f_max
        )
        self.steps.extend(
            [
                PreEmphasis(
                    preemphasis, window=scale * _WINDOWS[window](phase), padded_size=fft_size
                ),
                Spectrum(frame_length=self.frame_length, fft_size=fft_size),
                Projection(filters),
                Log(floor=floor),
            ]
        )

    def forward(self, waveforms: Array, lengths: Array | None = None) -> paddle.Tensor:
        if self._dither > 0 and self.training:
            waveforms = paddle.to_tensor(waveforms).astype("float32")
            waveforms = waveforms + self._dither * paddle.randn(waveforms.shape)
        return super().forward(waveforms, lengths)


class PreEmphasis(FrameStep):
    """Subtracts a frame's mean, then ``factor`` times the sample before, and applies the window.

    The first sample stands for the sample before it. On the host, the result is zero-padded to
    ``padded_size``, where the Fourier transform can work in place.
    """

    def __init__(self, factor: float, *, window: np.ndarray, padded_size: int) -> None:
        super().__init__()
        self._factor = factor
        self._padded_size = padded_size
        self._window = window.astype("float32")
        self.register_buffer("window", paddle.to_tensor(self._window), persistable=False)

    def on_host(self, frames: np.ndarray) -> np.ndarray:
        frames = frames - frames.mean(axis=1, keepdims=True)
        count, length = frames.shape
        # All frames as one row: NumPy is faster without the ends of 400 samples. What is added at
        # the end of a frame is the next one's, and is not used.
        row = frames.reshape(-1)
        emphasised = row * np.float32(-self._factor)
        emphasised[:-1] += row[1:]
        padded = np.zeros((count, self._padded_size), "float32")
        np.multiply(
            emphasised.reshape(count, length)[:, :-1], self._window[1:], out=padded[:, 1:length]
        )
        padded[:, 0] = np.float32((1 - self._factor) * self._window[0]) * frames[:, 0]
        return padded

    def forward(self, frames: paddle.Tensor) -> paddle.Tensor:
        frames = frames - frames.mean(axis=-1, keepdim=True)
        before = paddle.concat([frames[:, :, :1], frames[:, :, :-1]], axis=-1)
        return (frames - self._factor * before) * self.window
