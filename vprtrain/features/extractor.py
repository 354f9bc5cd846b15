"""What every feature promises, and all that they share: framing, padding, normalisation, the choice
of the path."""

from __future__ import annotations

from typing import TypeAlias, TypeVar

import numpy as np
import paddle
import paddle.nn.functional as F
import scipy.fft

from vprtrain.errors import UsageError
from vprtrain.layers.precision import full_precision
from vprtrain.spec import Specified

Array: TypeAlias = paddle.Tensor | np.ndarray
Count = TypeVar("Count", int, np.ndarray, paddle.Tensor)

_BLOCK_FRAMES = 512  # what the host path works on at once: 1 MB, inside the processor's cache, whatever the length


class FeatureExtractor(Specified, paddle.nn.Layer):
    """Waveforms to frames of features. A subclass says what becomes of one frame, once for each
    path.

    ``forward(waveforms, lengths=None)`` maps samples ``[batch, samples]`` in [-1, 1] to float32
    features ``[batch, frames(samples), output_size]``. ``lengths`` ``[batch]`` (int64) are each
    utterance's real samples; what stands behind them may be any finite number and has no influence:
    an utterance's frames are those that it has alone, and the frames that follow are zero.

    A NumPy array, or a tensor in main memory, is worked on by NumPy (:meth:`on_host`); a tensor on
    a GPU by one batched graph there (:meth:`on_device`), with the same result; so is whatever is
    traced for export. Nothing is differentiated, and mixed precision does not reach in here.

    Args:
        output_size: the width of a feature frame.
        frame_length: samples that make a frame.
        frame_shift: samples from a frame to the next.
        centred: whether frame ``t`` has sample ``t * frame_shift`` in its middle, the utterance
            being reflected at both ends; otherwise the first starts with it, and only whole frames
            count.
        mean_norm: subtract every feature's mean over the utterance's frames.
        variance_norm: then divide by its standard deviation over them.

    Raises :class:`UsageError` for frames that cannot be, and for waveforms too short for one.
    """

    def __init__(
        self,
        *,
        output_size: int,
        frame_length: int,
        frame_shift: int,
        centred: bool,
        mean_norm: bool,
        variance_norm: bool,
    ) -> None:
        super().__init__()
        if frame_length < 2 or frame_shift < 1:
            raise UsageError(
                f"frames of {frame_length} samples every {frame_shift} samples: at least 2 and 1 are needed, "
                "make them longer"
            )
        if variance_norm and not mean_norm:
            raise UsageError(
                "variance_norm is on and mean_norm off: variance is that around the mean, set both"
            )
        self.output_size = output_size
        self.frame_length = frame_length
        self.frame_shift = frame_shift
        self.mean_norm = mean_norm
        self.variance_norm = variance_norm
        self.min_samples = frame_length // 2 + 1 if centred else frame_length
        self._reflected = frame_length // 2 if centred else 0

    def frames_on_host(self, windows: np.ndarray) -> np.ndarray:
        """Features ``[n, output_size]`` of samples ``[n, frame_length]`` (float32, a view: not to
        be written to)."""
        raise NotImplementedError(f"{type(self).__name__} has no frames_on_host")

    def frames_on_device(self, windows: paddle.Tensor) -> paddle.Tensor:
        """Features ``[batch, frames, output_size]`` of samples ``[batch, frames, frame_length]``
        (float32)."""
        raise NotImplementedError(f"{type(self).__name__} has no frames_on_device")

    def frames(self, samples: Count) -> Count:
        """How many frames that many samples give; 0 where they are too few for one."""
        count = (samples + 2 * self._reflected - self.frame_length) // self.frame_shift + 1
        enough = samples >= self.min_samples
        return count * (enough if isinstance(enough, bool | np.ndarray) else enough.astype("int64"))

    def forward(self, waveforms: Array, lengths: Array | None = None) -> paddle.Tensor:
        if not paddle.in_dynamic_mode():  # traced for export: neither sizes nor a device are known
            return self.on_device(waveforms, lengths)
        if waveforms.ndim != 2 or waveforms.shape[1] < self.min_samples:
            raise UsageError(
                f"waveforms have shape {list(waveforms.shape)}, expected [batch, samples] with at least "
                f"{self.min_samples} samples (one frame): leave out what is shorter"
            )
        if isinstance(waveforms, paddle.Tensor) and not waveforms.place.is_cpu_place():
            return self.on_device(waveforms, None if lengths is None else paddle.to_tensor(lengths))
        return paddle.to_tensor(
            self.on_host(np.asarray(waveforms), None if lengths is None else np.asarray(lengths))
        )

    def on_host(self, waveforms: np.ndarray, lengths: np.ndarray | None = None) -> np.ndarray:
        """:meth:`forward` by NumPy, block by block; several times as fast as the graph on a CPU."""
        batch, samples = waveforms.shape
        waveforms = waveforms.astype("float32", copy=False)
        lengths = np.full(batch, samples) if lengths is None else lengths
        features = np.zeros((batch, self.frames(samples), self.output_size), "float32")
        for waveform, length, feature in zip(waveforms, lengths.tolist(), features, strict=True):
            if count := self.frames(length):
                self._fill(feature[:count], waveform[:length])
        return features

    def _fill(self, features: np.ndarray, waveform: np.ndarray) -> None:
        if self._reflected:
            waveform = np.pad(waveform, self._reflected, mode="reflect")
        windows = np.lib.stride_tricks.sliding_window_view(waveform, self.frame_length)[
            :: self.frame_shift
        ]
        for start in range(0, len(windows), _BLOCK_FRAMES):
            block = slice(start, start + _BLOCK_FRAMES)
            features[block] = self.frames_on_host(windows[block])
        if self.mean_norm:
            mean = features.mean(axis=0, dtype="float64").astype("float32")
            features -= mean
            if self.variance_norm:
                features /= np.maximum(
                    np.sqrt(np.square(features).mean(axis=0)), _least_deviation(mean)
                )

    @paddle.no_grad()
    def on_device(
        self, waveforms: paddle.Tensor, lengths: paddle.Tensor | None = None
    ) -> paddle.Tensor:
        """:meth:`forward` as one batched graph, without waiting for the device."""
        # Powers of int16 samples do not fit in half precision.
        with full_precision():
            waveforms = waveforms.astype("float32")
            if self._reflected:
                waveforms = _reflect(waveforms, lengths, self._reflected)
            windows = F.unfold(
                waveforms.unsqueeze([1, 2]), [1, self.frame_length], [1, self.frame_shift]
            )
            windows = windows.transpose([0, 2, 1])
            return self._finished(self.frames_on_device(windows), lengths)

    def _finished(self, features: paddle.Tensor, lengths: paddle.Tensor | None) -> paddle.Tensor:
        """Normalised over the real frames, and zero behind them."""
        if lengths is None and not self.mean_norm:
            return features
        if lengths is None:
            real = paddle.ones([1, features.shape[1], 1])
        else:
            count = self.frames(lengths).reshape([-1, 1, 1])
            real = (paddle.arange(features.shape[1]).reshape([1, -1, 1]) < count).astype("float32")
        if self.mean_norm:
            count = real.sum(axis=1, keepdim=True).clip(min=1)
            mean = (features * real).sum(axis=1, keepdim=True) / count
            features = features - mean
            if self.variance_norm:
                variance = (paddle.square(features) * real).sum(axis=1, keepdim=True) / count
                features = features / paddle.maximum(paddle.sqrt(variance), _least_deviation(mean))
        return features * real


def power_on_host(frames: np.ndarray, fft_size: int) -> np.ndarray:
    """Power spectra ``[n, fft_size // 2 + 1]`` of ``[n, fft_size]``, whose memory may be used
    up."""
    squares = scipy.fft.rfft(frames, fft_size, axis=1, overwrite_x=True).view("float32")
    np.square(squares, out=squares)
    return squares[:, ::2] + squares[:, 1::2]


class PowerOnDevice(paddle.nn.Layer):
    """Power spectra ``[.., fft_size // 2 + 1]`` of ``[.., frame_length]``, zeros appended up to
    ``fft_size``."""

    def __init__(self, *, frame_length: int, fft_size: int) -> None:
        super().__init__()
        self._fft_size = fft_size
        waves = np.fft.rfft(np.eye(frame_length), fft_size)
        self.register_buffer(
            "cosines", paddle.to_tensor(waves.real.astype("float32")), persistable=False
        )
        self.register_buffer(
            "sines", paddle.to_tensor(waves.imag.astype("float32")), persistable=False
        )

    def forward(self, frames: paddle.Tensor) -> paddle.Tensor:
        if paddle.in_dynamic_mode():
            spectrum = paddle.fft.rfft(frames, n=self._fft_size)
            return paddle.square(spectrum.real()) + paddle.square(spectrum.imag())
        # Traced for export: not every runtime has a Fourier transform, all have matrix products.
        return paddle.square(paddle.matmul(frames, self.cosines)) + paddle.square(
            paddle.matmul(frames, self.sines)
        )


def _least_deviation(mean: Array) -> Array:
    """Below this, a standard deviation is what rounding leaves of a constant, and must not be blown
    up."""
    return 1e-5 * abs(mean) + 1e-10


def _reflect(waveforms: paddle.Tensor, lengths: paddle.Tensor | None, width: int) -> paddle.Tensor:
    """Waveforms ``[batch, width + samples + width]``, each continued by its mirror image beyond its
    own two ends."""
    samples = waveforms.shape[1]
    last = (
        paddle.zeros([waveforms.shape[0]], "int64") + samples if lengths is None else lengths
    ).unsqueeze(1) - 1
    position = paddle.abs(paddle.arange(-width, samples + width).unsqueeze(0))
    position = last - paddle.abs(last - position)
    # Behind an utterance's mirror image, positions mean nothing.
    return paddle.take_along_axis(waveforms, position.clip(min=0), axis=1)
