"""Log mel filter banks as Kaldi computes them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np
import paddle

from vprtrain.errors import UsageError
from vprtrain.features.extractor import Array, FeatureExtractor, PowerOnDevice, power_on_host
from vprtrain.features.mel import kaldi_filters

_WINDOWS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "povey": lambda phase: (0.5 - 0.5 * np.cos(phase)) ** 0.85,
    "hamming": lambda phase: 0.54 - 0.46 * np.cos(phase),
}
_KALDI_FLOOR = float(np.finfo(np.float32).eps)


class Fbank(FeatureExtractor):
    """Natural-log mel filter-bank energies, equal to Kaldi's (snipped edges, no energy column).

    A frame: subtract its mean, ``x[t] - preemphasis * x[t-1]``, window, power spectrum of the next
    power of two, triangular filters equally spaced on ``1127 ln(1 + f / 700)`` from ``f_min`` to
    ``f_max`` (half the sample rate by default), natural logarithm of ``floor`` or more (Kaldi's is
    float32's epsilon, paddleaudio's 1e-7). ``int16_scale`` multiplies the samples by 32768 (as
    WeSpeaker's weights expect). ``mean_norm`` and ``variance_norm`` are
    :class:`FeatureExtractor`'s.

    ``dither`` adds Gaussian noise of that standard deviation to the scaled samples, in training
    mode only. It is drawn from Paddle's generator like dropout's, so the engine's seed of the step
    determines it, on both paths and whatever reads the data; :meth:`on_host` and :meth:`on_device`
    themselves add none.

    Raises :class:`UsageError` for options that make no filter bank.
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
    ) -> None:
        super().__init__(
            output_size=n_mels,
            frame_length=int(sample_rate * frame_length_ms / 1000),
            frame_shift=int(sample_rate * frame_shift_ms / 1000),
            centred=False,
            mean_norm=mean_norm,
            variance_norm=variance_norm,
        )
        if window not in _WINDOWS:
            raise UsageError(f"window {window!r} is not known: choose one of {', '.join(_WINDOWS)}")
        if not floor > 0:
            raise UsageError(f"floor is {floor}: it must be above 0, as its logarithm is taken")
        scale = 32768 if int16_scale else 1
        self.floor = floor
        self.sample_rate = sample_rate
        self._dither = dither / scale
        self.preemphasis = preemphasis
        self._fft_size = 1 << (self.frame_length - 1).bit_length()
        phase = 2 * np.pi * np.arange(self.frame_length) / (self.frame_length - 1)
        self._window = (scale * _WINDOWS[window](phase)).astype("float32")
        self._filters = kaldi_filters(
            n_mels=n_mels,
            fft_size=self._fft_size,
            sample_rate=sample_rate,
            f_min=f_min,
            f_max=f_max,
        )
        self._power_on_device = PowerOnDevice(
            frame_length=self.frame_length, fft_size=self._fft_size
        )
        self.register_buffer("window", paddle.to_tensor(self._window), persistable=False)
        self.register_buffer("filters", paddle.to_tensor(self._filters), persistable=False)

    def forward(self, waveforms: Array, lengths: Array | None = None) -> paddle.Tensor:
        if self._dither > 0 and self.training:
            waveforms = paddle.to_tensor(waveforms).astype("float32")
            waveforms = waveforms + self._dither * paddle.randn(waveforms.shape)
        return super().forward(waveforms, lengths)

    def frames_on_host(self, windows: np.ndarray) -> np.ndarray:
        frames = windows - windows.mean(axis=1, keepdims=True)
        emphasised = np.empty((len(frames), self._fft_size), "float32")
        emphasised[:, self.frame_length :] = 0
        inner = emphasised[:, 1 : self.frame_length]
        np.multiply(frames[:, :-1], np.float32(-self.preemphasis), out=inner)
        inner += frames[:, 1:]
        inner *= self._window[1:]
        emphasised[:, 0] = np.float32((1 - self.preemphasis) * self._window[0]) * frames[:, 0]
        energies = power_on_host(emphasised, self._fft_size) @ self._filters
        np.maximum(energies, np.float32(self.floor), out=energies)
        return np.log(energies, out=energies)

    def frames_on_device(self, windows: paddle.Tensor) -> paddle.Tensor:
        frames = windows - windows.mean(axis=-1, keepdim=True)
        before = paddle.concat([frames[:, :, :1], frames[:, :, :-1]], axis=-1)
        power = self._power_on_device((frames - self.preemphasis * before) * self.window)
        return paddle.log(paddle.matmul(power, self.filters).clip(min=self.floor))
