"""The steps that features are composed of, from the samples of a frame to its values."""

from __future__ import annotations

import numpy as np
import paddle
import scipy.fft

LEAST_FLOAT32, MOST_FLOAT32 = float(np.finfo("float32").tiny), float(np.finfo("float32").max)
_WAVES_AT_ONCE = 512


class FrameStep(paddle.nn.Layer):
    """One step from frames to frames, with the same result on both paths.

    On the host, frames are a float32 array ``[n, size]``; on a device, a float32 tensor
    ``[batch, frames, size]``.
    """

    def on_host(self, frames: np.ndarray) -> np.ndarray:
        """The step in NumPy. It may overwrite ``frames``, unless it is a feature's first step."""
        raise NotImplementedError(f"{type(self).__name__} has no on_host")

    def forward(self, frames: paddle.Tensor) -> paddle.Tensor:
        raise NotImplementedError(f"{type(self).__name__} has no forward")


class Window(FrameStep):
    """Samples times a window ``[frame_length]``. The samples are not overwritten."""

    def __init__(self, window: np.ndarray) -> None:
        super().__init__()
        self._window = window.astype("float32")
        self.register_buffer("window", paddle.to_tensor(self._window), persistable=False)

    def on_host(self, frames: np.ndarray) -> np.ndarray:
        return frames * self._window

    def forward(self, frames: paddle.Tensor) -> paddle.Tensor:
        return frames * self.window


class Spectrum(FrameStep):
    """The short-time Fourier transform's magnitudes to a power: ``fft_size // 2 + 1`` values.

    Args:
        frame_length: samples of a frame. On the host, frames may already be padded to ``fft_size``.
        fft_size: frames are zero-padded to this size.
        power: the exponent of the magnitudes, 2 for powers.
    """

    def __init__(self, *, frame_length: int, fft_size: int, power: float = 2.0) -> None:
        super().__init__()
        self._fft_size = fft_size
        self._power = power
        cosines, sines = _waves(frame_length, fft_size)
        self.register_buffer("cosines", paddle.to_tensor(cosines), persistable=False)
        self.register_buffer("sines", paddle.to_tensor(sines), persistable=False)

    def on_host(self, frames: np.ndarray) -> np.ndarray:
        parts = scipy.fft.rfft(frames, self._fft_size, axis=1, overwrite_x=True).view("float32")
        np.square(parts, out=parts)
        powers = parts[:, ::2] + parts[:, 1::2]
        return powers if self._power == 2 else powers ** np.float32(self._power / 2)

    def forward(self, frames: paddle.Tensor) -> paddle.Tensor:
        if paddle.in_dynamic_mode():
            spectrum = paddle.fft.rfft(frames, n=self._fft_size)
            real, imaginary = spectrum.real(), spectrum.imag()
        else:
            # Traced for export: not every runtime has a Fourier transform; all have matrix
            # products.
            real = paddle.matmul(frames, self.cosines)
            imaginary = paddle.matmul(frames, self.sines)
        powers = paddle.square(real) + paddle.square(imaginary)
        return powers if self._power == 2 else powers ** (self._power / 2)


def _waves(frame_length: int, fft_size: int) -> tuple[np.ndarray, np.ndarray]:
    """The cosines and sines of a Fourier transform, float32 ``[frame_length, fft_size // 2 + 1]``.

    They are computed in blocks, in float64: the whole in float64 has four times the memory.
    """
    cosines, sines = np.empty((2, frame_length, fft_size // 2 + 1), "float32")
    for start in range(0, frame_length, _WAVES_AT_ONCE):
        block = slice(start, start + _WAVES_AT_ONCE)
        units = np.eye(len(cosines[block]), frame_length, k=start)
        waves = np.fft.rfft(units, fft_size)
        cosines[block], sines[block] = waves.real, waves.imag
    return cosines, sines


class Projection(FrameStep):
    """Frames times a fixed matrix ``[size, new size]``: mel filters, or the cosines of a DCT."""

    def __init__(self, matrix: np.ndarray) -> None:
        super().__init__()
        self._matrix = matrix.astype("float32")
        self.register_buffer("matrix", paddle.to_tensor(self._matrix), persistable=False)

    def on_host(self, frames: np.ndarray) -> np.ndarray:
        return frames @ self._matrix

    def forward(self, frames: paddle.Tensor) -> paddle.Tensor:
        return paddle.matmul(frames, self.matrix)


class Log(FrameStep):
    """``factor * ln(max(x, floor))``, computed in place on the host."""

    def __init__(self, *, floor: float, factor: float = 1.0) -> None:
        super().__init__()
        self._floor = floor
        self._factor = factor

    def on_host(self, frames: np.ndarray) -> np.ndarray:
        np.maximum(frames, np.float32(self._floor), out=frames)
        np.log(frames, out=frames)
        if self._factor != 1:
            frames *= np.float32(self._factor)
        return frames

    def forward(self, frames: paddle.Tensor) -> paddle.Tensor:
        logarithms = paddle.log(frames.clip(min=self._floor))
        return logarithms if self._factor == 1 else self._factor * logarithms
