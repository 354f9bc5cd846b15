"""Layers that several encoders share.

Sequences are ``[batch, channels, frames]``. ``lengths`` ``[batch]`` (int64) are the real frames, ``None``
when all are real.
"""

from __future__ import annotations

import paddle
import paddle.nn.functional as F
from paddle import nn


def as_float32(x: paddle.Tensor) -> paddle.Tensor:
    """``x`` in float32; untouched if it is, as even a cast to the same type costs a copy going backward."""
    return x if x.dtype == paddle.float32 else x.astype("float32")


def frame_mask(lengths: paddle.Tensor, frames: int) -> paddle.Tensor:
    """``[batch, frames]`` float32, 1 on real frames and 0 on padding."""
    return (paddle.arange(frames) < lengths.unsqueeze(1)).astype("float32")


def masked(x: paddle.Tensor, lengths: paddle.Tensor | None) -> paddle.Tensor:
    """``x`` ``[batch, ..., frames]`` with zeros on padding."""
    if lengths is None:
        return x
    mask = frame_mask(lengths, x.shape[-1])
    # On the CPU a product with a broadcast middle axis takes twice as long as spreading the mask first.
    return x * mask.reshape([mask.shape[0]] + [1] * (x.ndim - 2) + [mask.shape[1]]).expand_as(x)


def mean_over_frames(x: paddle.Tensor, lengths: paddle.Tensor | None) -> paddle.Tensor:
    """The mean over real frames, ``[batch, channels]``."""
    if lengths is None:
        return x.mean(-1)
    weights = frame_mask(lengths, x.shape[-1]) / lengths.clip(min=1).unsqueeze(1).astype("float32")
    # A matrix product masks and sums in one pass; mixed precision would run it in half.
    with paddle.amp.auto_cast(enable=False):
        return paddle.matmul(as_float32(x), weights.unsqueeze(-1)).squeeze(-1)


def add_channel_bias(x: paddle.Tensor, bias: paddle.Tensor) -> paddle.Tensor:
    """``x + bias`` for a bias ``[channels]``.

    Spread over the batch first: Paddle's CPU kernels add ``[batch, channels, 1]`` several times faster than
    ``[1, channels, 1]``, forward and backward.
    """
    return x + bias.reshape([1, -1, 1]).expand([x.shape[0], -1, 1])


def reflect_pad(x: paddle.Tensor, width: int, lengths: paddle.Tensor | None) -> paddle.Tensor:
    """``width`` frames reflected at the start and behind each utterance's own last frame.

    Gives ``[batch, channels, frames + 2 * width]``; needs more than ``width`` frames.
    """
    if lengths is None:
        # Slices instead of F.pad, whose CPU kernel takes about ten times as long.
        before, after = x[:, :, 1 : width + 1].flip(-1), x[:, :, -width - 1 : -1].flip(-1)
        return paddle.concat([before, x, after], axis=-1)
    position = paddle.arange(-width, x.shape[-1] + width).abs()
    last = lengths.unsqueeze(1) - 1
    source = (last - (last - position).abs()).clip(min=0).unsqueeze(1)
    return paddle.take_along_axis(x, source.expand([-1, x.shape[1], -1]), axis=2, broadcast=False)


class Conv1D(nn.Conv1D):
    """``paddle.nn.Conv1D`` (zero padding) whose bias is cheap on the CPU: :func:`add_channel_bias`."""

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        y = F.conv1d(x, self.weight, None, self._stride, self._padding, self._dilation, self._groups)
        return y if self.bias is None else add_channel_bias(y, self.bias)


class TDNNBlock(nn.Layer):
    """Convolution over time, ReLU, batch normalisation.

    With ``reflect`` the number of frames stays; without, ``dilation * (kernel_size - 1)`` frames are lost.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        kernel_size: int = 1,
        dilation: int = 1,
        reflect: bool = True,
        affine: bool = True,
    ) -> None:
        super().__init__()
        self.conv = Conv1D(in_channels, out_channels, kernel_size, dilation=dilation)
        attr = None if affine else False
        self.norm = nn.BatchNorm1D(out_channels, weight_attr=attr, bias_attr=attr)
        self._padding = dilation * (kernel_size - 1) // 2 if reflect else 0

    def forward(self, x: paddle.Tensor, lengths: paddle.Tensor | None = None) -> paddle.Tensor:
        if self._padding:
            x = reflect_pad(x, self._padding, lengths)
        return self.norm(F.relu(self.conv(x)))


class BasicBlock(nn.Layer):
    """Two 3 x 3 convolutions and a shortcut (ResNet's basic block) on ``[batch, channels, mels, frames]``.

    Takes and gives zeros on padding. ``stride`` is over the mels; the frames stay.
    """

    def __init__(self, in_channels: int, out_channels: int, *, stride: int = 1) -> None:
        super().__init__()
        step = (stride, 1)
        self.conv1 = nn.Conv2D(in_channels, out_channels, 3, stride=step, padding=1, bias_attr=False)
        self.bn1 = nn.BatchNorm2D(out_channels)
        self.conv2 = nn.Conv2D(out_channels, out_channels, 3, padding=1, bias_attr=False)
        self.bn2 = nn.BatchNorm2D(out_channels)
        self.shortcut = nn.Sequential()
        if stride != 1 or in_channels != out_channels:
            self.shortcut = nn.Sequential(
                nn.Conv2D(in_channels, out_channels, 1, stride=step, bias_attr=False),
                nn.BatchNorm2D(out_channels),
            )

    def forward(self, x: paddle.Tensor, lengths: paddle.Tensor | None) -> paddle.Tensor:
        y = masked(F.relu(self.bn1(self.conv1(x))), lengths)
        return masked(F.relu(self.bn2(self.conv2(y)) + self.shortcut(x)), lengths)
