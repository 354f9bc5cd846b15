"""The base class of all features: framing, padding, normalisation, the choice of the path."""

from __future__ import annotations

import math
from typing import TypeAlias, TypeVar

import numpy as np
import paddle

from vprtrain.errors import UsageError, require_flags, require_number, shown
from vprtrain.layers.blocks import mean_over_frames
from vprtrain.layers.precision import full_precision
from vprtrain.layers.sizes import require_channels
from vprtrain.spec import Specified

Array: TypeAlias = paddle.Tensor | np.ndarray
Count = TypeVar("Count", int, np.ndarray, paddle.Tensor)

MOST_FRAME_LENGTH = 8192
"""Samples. The waves of a Fourier transform of this length have 270 MB."""
MOST_MILLISECONDS = 10_000.0
MOST_FRAME_SHIFT = 2**24

_MOST_LEVEL = 200.0  # dB
_SILENCE = 1e-7
"""A root mean square below this, -140 dB, is not amplified further."""

_BLOCK_FRAMES = 512
"""Frames that the host path computes at once: 1 MB, which stays in the processor's cache."""


class FeatureExtractor(Specified, paddle.nn.Layer):
    """Maps waveforms to feature frames. A subclass appends to ``steps`` the
    :class:`~vprtrain.features.steps.FrameStep` layers that compute a frame's values from its
    samples, one after another.

    ``forward(waveforms, lengths=None)`` maps samples ``[batch, samples]`` in [-1, 1] to float32
    features ``[batch, frames(samples), output_size]``. ``lengths`` ``[batch]`` (int64) are the
    utterances' numbers of samples; values after them are padding (any finite numbers) and are
    ignored. An utterance in a batch gets the same frames as alone, zero-padded at the end.

    NumPy computes arrays and tensors in main memory (:meth:`on_host`). One batched graph on the GPU
    computes tensors there (:meth:`on_device`), with the same result; a trace for export takes this
    path too. Nothing is differentiated, and mixed precision has no effect on features.

    Args:
        output_size: the number of values of a feature frame.
        frame_length: the number of samples of a frame.
        frame_shift: samples from the start of a frame to the start of the next.
        centred: whether sample ``t * frame_shift`` is the middle of frame ``t``, with the utterance
            reflected at both ends. Otherwise it is the frame's first sample, and only whole frames
            are computed.
        mean_norm: subtract every feature's mean over the utterance's frames.
        variance_norm: then divide by its standard deviation over these frames.
        level: the root mean square that every waveform is brought to first, in dB of full scale;
            ``None`` leaves waveforms as they are.

    Raises:
        UsageError: such frames are impossible, or waveforms are too short for one frame.
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
        level: float | None = None,
    ) -> None:
        super().__init__()
        require_channels(output_size=output_size)
        if level is not None:
            require_number("level", level, least=-_MOST_LEVEL, most=_MOST_LEVEL)
        require_flags(mean_norm=mean_norm, variance_norm=variance_norm)
        if not (2 <= frame_length <= MOST_FRAME_LENGTH and 1 <= frame_shift <= MOST_FRAME_SHIFT):
            raise UsageError(
                f"frames of {shown(frame_length)} samples every {shown(frame_shift)} samples are "
                f"impossible: 2 to {MOST_FRAME_LENGTH} and 1 to {MOST_FRAME_SHIFT} are possible"
            )
        if variance_norm and not mean_norm:
            raise UsageError(
                "variance_norm is on and mean_norm is off: the variance is taken around the mean, "
                "set both"
            )
        self.output_size = output_size
        self.frame_length = frame_length
        self.frame_shift = frame_shift
        self.mean_norm = mean_norm
        self.variance_norm = variance_norm
        self.min_samples = frame_length // 2 + 1 if centred else frame_length
        self.steps = paddle.nn.LayerList()
        self._reflected = frame_length // 2 if centred else 0
        self._target = None if level is None else 10 ** (level / 20)

    def frames(self, samples: Count) -> Count:
        """The number of frames that this number of samples gives; 0 if there are too few."""
        count = (samples + 2 * self._reflected - self.frame_length) // self.frame_shift + 1
        enough = samples >= self.min_samples
        return count * (enough if isinstance(enough, bool | np.ndarray) else enough.astype("int64"))

    def forward(self, waveforms: Array, lengths: Array | None = None) -> paddle.Tensor:
        if not paddle.in_dynamic_mode():  # traced for export: sizes and device are unknown
            return self.on_device(waveforms, lengths)
        if waveforms.ndim != 2 or waveforms.shape[1] < self.min_samples:
            raise UsageError(
                f"waveforms have shape {list(waveforms.shape)}, expected [batch, samples] with at "
                f"least {self.min_samples} samples (one frame): leave out shorter ones"
            )
        if isinstance(waveforms, paddle.Tensor) and not waveforms.place.is_cpu_place():
            return self.on_device(waveforms, None if lengths is None else paddle.to_tensor(lengths))
        return paddle.to_tensor(
            self.on_host(np.asarray(waveforms), None if lengths is None else np.asarray(lengths))
        )

    def on_host(self, waveforms: np.ndarray, lengths: np.ndarray | None = None) -> np.ndarray:
        """:meth:`forward` in NumPy, block by block; on a CPU several times as fast as the graph."""
        batch, samples = waveforms.shape
        waveforms = waveforms.astype("float32", copy=False)
        lengths = np.full(batch, samples) if lengths is None else lengths
        features = np.zeros((batch, self.frames(samples), self.output_size), "float32")
        for waveform, length, feature in zip(waveforms, lengths.tolist(), features, strict=True):
            if count := self.frames(length):
                self._fill(feature[:count], self._levelled(waveform[:length]))
        return features

    def _levelled(self, waveform: np.ndarray) -> np.ndarray:
        """One utterance at the level."""
        if self._target is None:
            return waveform
        power = np.square(waveform, dtype="float64").mean()
        return waveform * np.float32(self._target / max(math.sqrt(power), _SILENCE))

    def _fill(self, features: np.ndarray, waveform: np.ndarray) -> None:
        """Write the features of one utterance into ``features`` ``[frames, output_size]``."""
        if self._reflected:
            waveform = np.pad(waveform, self._reflected, mode="reflect")
        windows = np.lib.stride_tricks.sliding_window_view(waveform, self.frame_length)[
            :: self.frame_shift
        ]
        for start in range(0, len(windows), _BLOCK_FRAMES):
            block = slice(start, start + _BLOCK_FRAMES)
            frames = windows[block]
            for step in self.steps:
                frames = step.on_host(frames)
            features[block] = frames
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
        # The powers of int16 samples do not fit in half precision.
        with full_precision():
            waveforms = waveforms.astype("float32")
            if self._target is not None:
                waveforms = waveforms * (self._target / _deviation(waveforms, lengths))
            if self._reflected:
                waveforms = _reflect(waveforms, lengths, self._reflected)
            frames = self._windows(waveforms)
            for step in self.steps:
                frames = step(frames)
            return self._normalised(frames, lengths)

    def _windows(self, waveforms: paddle.Tensor) -> paddle.Tensor:
        """The samples of every frame, ``[batch, frames, frame_length]``.

        They are gathered in the largest pieces that frames are made of (5 ms where they have 25 and
        follow each other by 10), which in ONNX takes a tenth of the time of ``F.unfold``.
        """
        size = math.gcd(self.frame_length, self.frame_shift)
        each, step = self.frame_length // size, self.frame_shift // size
        count = (waveforms.shape[1] - self.frame_length) // self.frame_shift + 1
        used = (count - 1) * self.frame_shift + self.frame_length
        pieces = waveforms[:, :used].reshape([waveforms.shape[0], -1, size])
        places = paddle.arange(count).unsqueeze(1) * step + paddle.arange(each)
        found = paddle.gather(pieces, places.flatten(), axis=1)
        return found.reshape([waveforms.shape[0], -1, self.frame_length])

    def _normalised(self, features: paddle.Tensor, lengths: paddle.Tensor | None) -> paddle.Tensor:
        """Normalise over the utterances' own frames, and set the padding to zero."""
        if lengths is None and not self.mean_norm:
            return features
        if lengths is None:
            mask = paddle.ones([1, features.shape[1], 1])
        else:
            count = self.frames(lengths).reshape([-1, 1, 1])
            mask = (paddle.arange(features.shape[1]).reshape([1, -1, 1]) < count).astype("float32")
        if self.mean_norm:
            count = mask.sum(axis=1, keepdim=True).clip(min=1)
            mean = (features * mask).sum(axis=1, keepdim=True) / count
            features = features - mean
            if self.variance_norm:
                variance = (paddle.square(features) * mask).sum(axis=1, keepdim=True) / count
                features = features / paddle.maximum(paddle.sqrt(variance), _least_deviation(mean))
        return features * mask


def _least_deviation(mean: Array) -> Array:
    """A standard deviation below this is the rounding error of a constant, and must not be scaled
    up."""
    return 1e-5 * abs(mean) + 1e-10


def _deviation(waveforms: paddle.Tensor, lengths: paddle.Tensor | None) -> paddle.Tensor:
    """The root mean square of every utterance ``[batch, 1]``, never 0."""
    powers = paddle.square(waveforms).unsqueeze(1)
    return paddle.sqrt(mean_over_frames(powers, lengths)).clip(min=_SILENCE)


def _reflect(waveforms: paddle.Tensor, lengths: paddle.Tensor | None, width: int) -> paddle.Tensor:
    """Waveforms ``[batch, width + samples + width]``, each reflected at its own two ends."""
    samples = waveforms.shape[1]
    last = (
        paddle.zeros([waveforms.shape[0]], "int64") + samples if lengths is None else lengths
    ).unsqueeze(1) - 1
    position = paddle.abs(paddle.arange(-width, samples + width).unsqueeze(0))
    position = last - paddle.abs(last - position)
    # After an utterance's reflection, positions may be negative; these samples are padding.
    return paddle.take_along_axis(waveforms, position.clip(min=0), axis=1)
