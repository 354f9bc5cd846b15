"""Log mel filter banks as Kaldi computes them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, TypeAlias, TypeVar

import numpy as np
import paddle
import scipy.fft

from vprtrain.errors import UsageError
from vprtrain.spec import Specified

Array: TypeAlias = paddle.Tensor | np.ndarray
Count = TypeVar("Count", int, np.ndarray, paddle.Tensor)

_WINDOWS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "povey": lambda phase: (0.5 - 0.5 * np.cos(phase)) ** 0.85,
    "hamming": lambda phase: 0.54 - 0.46 * np.cos(phase),
}
_FLOOR = float(np.finfo(np.float32).eps)
_BLOCK_FRAMES = 512  # what the host path works on at once: about 1 MB, inside the processor's cache


class Fbank(Specified, paddle.nn.Layer):
    """Natural-log mel filter-bank energies, equal to Kaldi's (snipped edges, no energy column).

    ``forward(waveforms, lengths=None)`` maps samples ``[batch, samples]`` in [-1, 1] to float32 features
    ``[batch, frames(samples), n_mels]``. ``lengths`` ``[batch]`` (int64) are each utterance's real samples:
    frames that reach behind them are zero and stay out of the mean. A NumPy array, or a tensor in main
    memory, is worked on by NumPy; a tensor on a GPU by one batched graph there, with the same result.
    Nothing is differentiated, and mixed precision does not reach in here.

    A frame: subtract its mean, ``x[t] - preemphasis * x[t-1]``, window, power spectrum of the next power of
    two, triangular filters equally spaced on ``1127 ln(1 + f / 700)`` from ``f_min`` to ``f_max`` (half the
    sample rate by default), natural logarithm above float32's epsilon. ``int16_scale`` multiplies the samples
    by 32768 (as WeSpeaker's weights expect); ``mean_norm`` subtracts every mel's mean over the utterance.
    ``dither`` adds Gaussian noise of that standard deviation to the scaled samples, drawn from Paddle's
    generator.

    Raises :class:`UsageError` for options that make no filter bank and waveforms shorter than one frame.
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
        mean_norm: bool = False,
        dither: float = 0.0,
    ) -> None:
        super().__init__()
        self.n_mels = n_mels
        self.sample_rate = sample_rate
        self.frame_length = int(sample_rate * frame_length_ms / 1000)
        self.frame_shift = int(sample_rate * frame_shift_ms / 1000)
        self.preemphasis = preemphasis
        self.mean_norm = mean_norm
        self.dither = dither
        self._scale = 32768.0 if int16_scale else 1.0
        if self.frame_length < 2 or self.frame_shift < 1:
            raise UsageError(
                f"frames of {frame_length_ms} ms every {frame_shift_ms} ms are {self.frame_length} and "
                f"{self.frame_shift} samples at {sample_rate} Hz: at least 2 and 1 are needed"
            )
        if window not in _WINDOWS:
            raise UsageError(f"window {window!r} is not known: choose one of {', '.join(_WINDOWS)}")
        self._fft_size = 1 << (self.frame_length - 1).bit_length()
        phase = 2 * np.pi * np.arange(self.frame_length) / (self.frame_length - 1)
        self._window = _WINDOWS[window](phase).astype("float32")
        self._filters = mel_filters(
            n_mels=n_mels, fft_size=self._fft_size, sample_rate=sample_rate, f_min=f_min, f_max=f_max
        )
        self.register_buffer("window", paddle.to_tensor(self._window), persistable=False)
        self.register_buffer("filters", paddle.to_tensor(self._filters), persistable=False)

    @property
    def output_size(self) -> int:
        """The width of a feature frame."""
        return self.n_mels

    def frames(self, samples: Count) -> Count:
        """How many frames that many samples give; 0 where they do not fill one."""
        surplus = samples - self.frame_length + self.frame_shift
        # max(surplus, 0) // shift, written so that it holds for integers, arrays and tensors alike
        return (surplus + abs(surplus)) // (2 * self.frame_shift)

    def forward(self, waveforms: Array, lengths: Array | None = None) -> paddle.Tensor:
        if waveforms.ndim != 2 or waveforms.shape[1] < self.frame_length:
            raise UsageError(
                f"waveforms have shape {list(waveforms.shape)}, expected [batch, samples] with at least "
                f"{self.frame_length} samples (one frame): leave out what is shorter"
            )
        if isinstance(waveforms, paddle.Tensor) and not waveforms.place.is_cpu_place():
            return self.on_device(waveforms, None if lengths is None else paddle.to_tensor(lengths))
        return paddle.to_tensor(self.on_host(np.asarray(waveforms), None if lengths is None else np.asarray(lengths)))

    def on_host(self, waveforms: np.ndarray, lengths: np.ndarray | None = None) -> np.ndarray:
        """:meth:`forward` by NumPy, block by block; several times as fast as the graph on a CPU."""
        waveforms = waveforms.astype("float32", copy=False)
        if self._scale != 1.0:
            waveforms = waveforms * np.float32(self._scale)
        if self.dither > 0:
            waveforms = waveforms + np.float32(self.dither) * paddle.randn(waveforms.shape).numpy()
        batch, samples = waveforms.shape
        counts = self.frames(np.full(batch, samples) if lengths is None else lengths)
        features = np.zeros((batch, self.frames(samples), self.n_mels), "float32")
        for waveform, count, feature in zip(waveforms, counts, features, strict=True):
            windows = np.lib.stride_tricks.sliding_window_view(waveform, self.frame_length)[:: self.frame_shift]
            for start in range(0, count, _BLOCK_FRAMES):
                stop = min(start + _BLOCK_FRAMES, count)
                feature[start:stop] = self._log_mel(windows[start:stop])
            if self.mean_norm and count:
                feature[:count] -= feature[:count].mean(axis=0)
        return features

    def _log_mel(self, windows: np.ndarray) -> np.ndarray:
        frames = windows - windows.mean(axis=1, keepdims=True)
        padded = np.zeros((len(frames), self._fft_size), "float32")
        emphasised = padded[:, : self.frame_length]
        np.subtract(frames[:, 1:], np.float32(self.preemphasis) * frames[:, :-1], out=emphasised[:, 1:])
        emphasised[:, 0] = np.float32(1 - self.preemphasis) * frames[:, 0]
        emphasised *= self._window
        spectrum = scipy.fft.rfft(padded, axis=1, overwrite_x=True)
        power = np.square(spectrum.real) + np.square(spectrum.imag)
        return np.log(np.maximum(power @ self._filters, np.float32(_FLOOR)))

    @paddle.no_grad()
    def on_device(self, waveforms: paddle.Tensor, lengths: paddle.Tensor | None = None) -> paddle.Tensor:
        """:meth:`forward` as one batched graph, without waiting for the device."""
        # Powers of int16 samples do not fit in half precision.
        with paddle.amp.auto_cast(enable=False):
            waveforms = waveforms.astype("float32") * self._scale
            if self.dither > 0:
                waveforms = waveforms + self.dither * paddle.randn(waveforms.shape)
            frames = paddle.signal.frame(waveforms, self.frame_length, self.frame_shift).transpose([0, 2, 1])
            frames = frames - frames.mean(axis=-1, keepdim=True)
            before = paddle.concat([frames[:, :, :1], frames[:, :, :-1]], axis=-1)
            spectrum = paddle.fft.rfft((frames - self.preemphasis * before) * self.window, n=self._fft_size)
            power = paddle.square(spectrum.real()) + paddle.square(spectrum.imag())
            features = paddle.log(paddle.matmul(power, self.filters).clip(min=_FLOOR))
            return self._finished(features, lengths)

    def _finished(self, features: paddle.Tensor, lengths: paddle.Tensor | None) -> paddle.Tensor:
        """Mean subtraction and zeros on padding."""
        if lengths is None:
            return features - features.mean(axis=1, keepdim=True) if self.mean_norm else features
        count = self.frames(lengths).reshape([-1, 1, 1])
        mask = (paddle.arange(features.shape[1]).reshape([1, -1, 1]) < count).astype("float32")
        if self.mean_norm:
            mean = (features * mask).sum(axis=1, keepdim=True) / count.clip(min=1).astype("float32")
            features = features - mean
        return features * mask


def mel_filters(*, n_mels: int, fft_size: int, sample_rate: int, f_min: float, f_max: float | None) -> np.ndarray:
    """Kaldi's triangular filters, float32 ``[fft_size // 2 + 1, n_mels]``; the last bin is unused."""
    f_max = sample_rate / 2 if f_max is None else f_max
    if n_mels < 1 or not 0 <= f_min < f_max <= sample_rate / 2:
        raise UsageError(
            f"{n_mels} mels from {f_min} to {f_max} Hz at {sample_rate} Hz make no filter bank: "
            "n_mels >= 1 and 0 <= f_min < f_max <= sample_rate / 2 are needed"
        )
    edges = np.linspace(_mel(f_min), _mel(f_max), n_mels + 2)
    left, centre, right = edges[:-2], edges[1:-1], edges[2:]
    bins = _mel(np.arange(fft_size // 2) * sample_rate / fft_size)[:, np.newaxis]
    weights = np.maximum(0, np.minimum((bins - left) / (centre - left), (right - bins) / (right - centre)))
    empty = np.flatnonzero(weights.sum(axis=0) == 0)
    if len(empty):
        raise UsageError(
            f"{len(empty)} of {n_mels} mel filters fall between two frequency bins (the first is number "
            f"{empty[0]}): use fewer mels or longer frames"
        )
    return np.pad(weights, ((0, 1), (0, 0))).astype("float32")


def _mel(frequency: float | np.ndarray) -> np.ndarray:
    return 1127.0 * np.log1p(np.asarray(frequency) / 700.0)
