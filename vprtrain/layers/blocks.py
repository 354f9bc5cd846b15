"""Layers that several encoders share.

Sequences are ``[batch, channels, frames]``. ``lengths`` ``[batch]`` (int64) are the numbers of real
frames; ``None`` means no padding.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import paddle
import paddle.nn.functional as F
from paddle import nn

from vprtrain.layers.convolution import conv2d
from vprtrain.layers.initialisation import Conv1D, Conv2D
from vprtrain.layers.paddle_internals import (
    convolved,
    epsilon,
    momentum,
    running_statistics,
)
from vprtrain.layers.precision import as_float32, full_precision

Padding: TypeAlias = Literal["none", "zero", "reflect"]
"""What stands before the first frame and after the last real one for a convolution over time."""

BATCH_NORMS = (nn.BatchNorm1D, nn.BatchNorm2D, nn.BatchNorm3D, nn.SyncBatchNorm)
"""The classes of batch normalisation, for ``isinstance``."""


def batch_norm_statistics(module: nn.Layer) -> list[paddle.Tensor]:
    """The running means and variances of all batch normalisations. In Paddle they are parameters
    of their layers."""
    norms = [layer for layer in module.sublayers() if isinstance(layer, BATCH_NORMS)]
    return [tensor for norm in norms for tensor in running_statistics(norm)]


def frame_mask(lengths: paddle.Tensor, frames: int) -> paddle.Tensor:
    """``[batch, frames]`` float32, 1 on real frames and 0 on padding."""
    return (paddle.arange(frames) < lengths.unsqueeze(1)).astype("float32")


def masked(x: paddle.Tensor, lengths: paddle.Tensor | None) -> paddle.Tensor:
    """``x`` ``[batch, ..., frames]`` with zeros on padding."""
    if lengths is None:
        return x
    mask = frame_mask(lengths, x.shape[-1])
    # On the CPU a product with a broadcast middle axis takes twice as long as spreading the mask
    # first.
    return x * mask.unsqueeze(list(range(1, x.ndim - 1))).expand(x.shape)


def mean_over_frames(x: paddle.Tensor, lengths: paddle.Tensor | None) -> paddle.Tensor:
    """The mean over real frames, ``[batch, channels]``."""
    if lengths is None:
        return x.mean(-1)
    weights = frame_mask(lengths, x.shape[-1]) / lengths.clip(min=1).unsqueeze(1).astype("float32")
    # A matrix product masks and sums in one pass; mixed precision would run it in half precision.
    with full_precision():
        return paddle.matmul(as_float32(x), weights.unsqueeze(-1)).squeeze(-1)


def mean_over_positions(x: paddle.Tensor, lengths: paddle.Tensor | None) -> paddle.Tensor:
    """The mean of ``x`` ``[batch, channels, mels, frames]`` over mels and real frames, ``[batch,
    channels]``."""
    return mean_over_frames(x.flatten(1, 2), lengths).reshape([0, -1, x.shape[2]]).mean(-1)


def reflect_pad(x: paddle.Tensor, width: int, lengths: paddle.Tensor | None) -> paddle.Tensor:
    """Reflection padding of ``width`` frames at the start and after each utterance's last real
    frame.

    Returns ``[batch, channels, frames + 2 * width]``; needs more than ``width`` frames.
    """
    if lengths is None:
        # Slices instead of F.pad, whose CPU kernel takes about ten times as long.
        before, after = x[:, :, 1 : width + 1], x[:, :, -width - 1 : -1]
        return paddle.concat([_reversed(before, width), x, _reversed(after, width)], axis=-1)
    position = paddle.arange(-width, x.shape[-1] + width).abs()
    last = lengths.unsqueeze(1) - 1
    source = (last - (last - position).abs()).clip(min=0).unsqueeze(1)
    return paddle.take_along_axis(
        x, source.expand([x.shape[0], x.shape[1], source.shape[2]]), axis=2, broadcast=False
    )


def _reversed(x: paddle.Tensor, frames: int) -> paddle.Tensor:
    if paddle.in_dynamic_mode():
        return x.flip(-1)
    # paddle2onnx reverses only axes whose size it knows.
    return paddle.concat([x[:, :, i : i + 1] for i in range(frames - 1, -1, -1)], axis=-1)


def relu(x: paddle.Tensor) -> paddle.Tensor:
    """In-place ReLU, for an ``x`` that nothing else reads.

    The backward pass of ReLU needs only its result, and those of sums, convolutions and batch
    normalisations, which produce such an ``x``, do not need theirs. In CAM++ this halves the memory
    that a step newly allocates.
    """
    return F.relu_(x) if paddle.in_dynamic_mode() else F.relu(x)


class TDNNBlock(nn.Layer):
    """Convolution over time, an activation, batch normalisation (left out without ``norm``).

    With ``padding`` "reflect" or "zero" the number of frames is kept; with "none"
    ``dilation * (kernel_size - 1)`` frames are lost. The activation is ReLU, or leaky ReLU with a
    ``negative_slope`` above 0.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        kernel_size: int = 1,
        dilation: int = 1,
        padding: Padding = "reflect",
        negative_slope: float = 0.0,
        affine: bool = True,
        norm: bool = True,
    ) -> None:
        super().__init__()
        width = dilation * (kernel_size - 1) // 2
        zeros = width if padding == "zero" else 0
        self.conv = Conv1D(in_channels, out_channels, kernel_size, dilation=dilation, padding=zeros)
        self.norm = (
            nn.BatchNorm1D(out_channels, weight_attr=affine, bias_attr=affine)
            if norm
            else nn.Identity()
        )
        self._zeros = zeros
        self._reflection = width if padding == "reflect" else 0
        self._negative_slope = negative_slope

    def forward(self, x: paddle.Tensor, lengths: paddle.Tensor | None = None) -> paddle.Tensor:
        if self._reflection:
            x = reflect_pad(x, self._reflection, lengths)
        elif self._zeros:
            x = masked(x, lengths)
        x = self.conv(x)
        slope = self._negative_slope
        # F.leaky_relu loses its slope in ONNX (paddle2onnx 2.1.0).
        return self.norm(paddle.maximum(x, slope * x) if slope else relu(x))


def strided_lengths(lengths: paddle.Tensor | None, stride: int) -> paddle.Tensor | None:
    """The numbers of real frames after a convolution or pooling that keeps them at stride 1."""
    return lengths if lengths is None or stride == 1 else (lengths + stride - 1) // stride


def clipped_relu(x: paddle.Tensor) -> paddle.Tensor:
    """ReLU limited to 20, as in the Res2Net family."""
    return x.clip(0.0, 20.0)


def silu(x: paddle.Tensor) -> paddle.Tensor:
    """``x * sigmoid(x)``. Paddle's own has a NaN gradient below -85 on the CPU (3.3.1)."""
    return x * F.sigmoid(x)


def conv_norm(x: paddle.Tensor, conv: nn.Conv2D, norm: nn.BatchNorm2D) -> paddle.Tensor:
    """``norm(conv(x))`` with the bias of the convolution folded into the normalisation.

    Results, gradients and statistics are the same up to rounding: in training the normalisation
    subtracts the bias again, so it only shifts the running mean, and its gradient is zero. Adding
    the bias at every position takes longer on the CPU than a convolution of kernel 1.
    """
    if conv.bias is None:
        return norm(conv(x))
    bias = as_float32(conv.bias)
    fast = isinstance(conv, Conv2D) and conv.fast
    x = convolved(conv2d if fast else F.conv2d, x, conv, None)
    mean, variance = running_statistics(norm)
    if not norm.training:
        shift = norm.bias + bias * norm.weight * paddle.rsqrt(variance + epsilon(norm))
        return F.batch_norm(x, mean, variance, norm.weight, shift, epsilon=epsilon(norm))
    kept = momentum(norm)
    # The running mean becomes kept * old + (1 - kept) * (mean of x + bias). A copy is changed, as a
    # change in place would spoil the backward pass of an earlier call.
    moved_mean = (mean + (1 - kept) / kept * bias).detach()
    # The bias gets a gradient of zero, because optimizers and ranks wait for one.
    shift = norm.bias + 0.0 * bias
    x = F.batch_norm(x, moved_mean, variance, norm.weight, shift, True, kept, epsilon(norm))
    paddle.assign(moved_mean, output=mean)
    return x


class Shortcut(nn.Sequential):
    """The shortcut of a residual block: the input, or its 1 x 1 convolution and batch normalisation
    if the block changes the shape."""

    def __init__(
        self, in_channels: int, out_channels: int, *, stride: tuple[int, int], bias: bool = False
    ) -> None:
        super().__init__()
        if stride != (1, 1) or in_channels != out_channels:
            self.append(Conv2D(in_channels, out_channels, 1, stride=stride, bias=bias))
            self.append(nn.BatchNorm2D(out_channels))

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        return conv_norm(x, *self) if len(self) else x


class BasicBlock(nn.Layer):
    """Two 3 x 3 convolutions and a shortcut (ResNet's basic block) on ``[batch, channels, mels,
    frames]``.

    Padding is zero in the input and in the result; ``lengths`` are those of the input. ``stride``
    applies to mels and frames.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        stride: tuple[int, int] = (1, 1),
        bias: bool = False,
    ) -> None:
        super().__init__()
        self.conv1 = Conv2D(in_channels, out_channels, 3, stride=stride, padding=1, bias=bias)
        self.bn1 = nn.BatchNorm2D(out_channels)
        self.conv2 = Conv2D(out_channels, out_channels, 3, padding=1, bias=bias)
        self.bn2 = nn.BatchNorm2D(out_channels)
        self.shortcut = Shortcut(in_channels, out_channels, stride=stride, bias=bias)
        self._frame_stride = stride[1]

    def forward(self, x: paddle.Tensor, lengths: paddle.Tensor | None) -> paddle.Tensor:
        lengths = strided_lengths(lengths, self._frame_stride)
        y = masked(relu(conv_norm(x, self.conv1, self.bn1)), lengths)
        y = self.weighted(conv_norm(y, self.conv2, self.bn2), lengths)
        return masked(relu(y + self.shortcut(x)), lengths)

    def weighted(self, y: paddle.Tensor, lengths: paddle.Tensor | None) -> paddle.Tensor:
        """What is added to the shortcut: here the second convolution's normalised result ``y``
        itself. ``lengths`` are its own."""
        return y


class Stem(nn.Layer):
    """Convolution 3 x 3, batch normalisation, ReLU: the first layer of the two-dimensional
    networks.

    ``[batch, mels, frames]`` to ``[batch, channels, mels, frames]``; padding is ignored, and zero
    in the result.
    """

    def __init__(self, channels: int, *, bias: bool = False) -> None:
        super().__init__()
        self.conv1 = Conv2D(1, channels, 3, padding=1, bias=bias)
        self.bn1 = nn.BatchNorm2D(channels)

    def forward(self, x: paddle.Tensor, lengths: paddle.Tensor | None) -> paddle.Tensor:
        x = masked(x, lengths).unsqueeze(1)
        return masked(relu(conv_norm(x, self.conv1, self.bn1)), lengths)
