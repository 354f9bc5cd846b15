"""Layers that let every frame see the frames around it, or all of them.

Sequences are ``[batch, channels, frames]``, images ``[batch, channels, mels, frames]``. ``lengths``
``[batch]`` (int64) are the numbers of real frames; ``None`` means no padding. Padding of the
input is ignored; that of the result is not zero.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import paddle
import paddle.nn.functional as F
from paddle import nn

from vprtrain.layers.blocks import frame_mask, masked
from vprtrain.layers.initialisation import Conv1D, Conv2D, Linear
from vprtrain.layers.precision import as_float32

_EPSILON = 1e-6


class ChannelNorm(nn.LayerNorm):
    """Layer normalisation over the channels of each position of a sequence or an image."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, epsilon=_EPSILON)

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        order = [0, *range(2, x.ndim), 1]
        back = [0, x.ndim - 1, *range(1, x.ndim - 1)]
        return super().forward(x.transpose(order)).transpose(back)


class ConvNeXtBlock(nn.Layer):
    """A grouped convolution, batch normalisation, GELU, a convolution of kernel 1, and the input
    added.

    After ConvNeXt (https://arxiv.org/abs/2201.03545), as in ReDimNet.

    Args:
        channels: of input and result.
        kernel_size: odd.
        groups: of the first convolution.
        image: work on ``[batch, channels, mels, frames]``, not on ``[batch, channels, frames]``.
    """

    def __init__(self, channels: int, *, kernel_size: int, groups: int, image: bool) -> None:
        super().__init__()
        conv, norm = (Conv2D, nn.BatchNorm2D) if image else (Conv1D, nn.BatchNorm1D)
        self.conv = conv(channels, channels, kernel_size, padding=kernel_size // 2, groups=groups)
        self.norm = norm(channels)
        self.pointwise = conv(channels, channels, 1)

    def forward(self, x: paddle.Tensor, lengths: paddle.Tensor | None) -> paddle.Tensor:
        return x + self.pointwise(F.gelu(self.norm(self.conv(masked(x, lengths)))))


class SelfAttention(nn.Layer):
    """Multi-head attention of every frame to all real frames (https://arxiv.org/abs/1706.03762), on
    ``[batch, frames, channels]``. Its memory grows with the square of the frames."""

    def __init__(self, channels: int, *, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = Linear(channels, channels)
        self.key = Linear(channels, channels)
        self.value = Linear(channels, channels)
        self.output = Linear(channels, channels)

    def forward(self, x: paddle.Tensor, lengths: paddle.Tensor | None) -> paddle.Tensor:
        width = x.shape[-1] // self.heads
        query, key, value = (
            layer(x).reshape([0, 0, self.heads, width]).transpose([0, 2, 1, 3])
            for layer in (self.query, self.key, self.value)
        )
        scores = as_float32(paddle.matmul(query * width**-0.5, key, transpose_y=True))
        if lengths is not None:
            padding = 1.0 - frame_mask(lengths, x.shape[1])
            scores = scores - (1e9 * padding).unsqueeze([1, 2])
        seen = paddle.matmul(F.softmax(scores, axis=-1).astype(value.dtype), value)
        return self.output(seen.transpose([0, 2, 1, 3]).flatten(2))


def gelu_by_tanh(x: paddle.Tensor) -> paddle.Tensor:
    """GELU by its approximation with tanh (https://arxiv.org/abs/1606.08415).

    Paddle's own becomes the exact GELU in ONNX (paddle2onnx 2.1.0), which is another function.
    """
    cubic = x + 0.044715 * x * paddle.square(x)
    return 0.5 * x * (1.0 + paddle.tanh(math.sqrt(2 / math.pi) * cubic))


class TransformerLayer(nn.Layer):
    """Self-attention, and two linear layers with :func:`gelu_by_tanh` between them; each adds its
    input and is normalised afterwards. On ``[batch, frames, channels]``."""

    def __init__(self, channels: int, *, heads: int) -> None:
        super().__init__()
        self.attention = SelfAttention(channels, heads=heads)
        self.attention_norm = nn.LayerNorm(channels, epsilon=_EPSILON)
        self.linear1 = Linear(channels, channels)
        self.linear2 = Linear(channels, channels)
        self.norm = nn.LayerNorm(channels, epsilon=_EPSILON)

    def forward(self, x: paddle.Tensor, lengths: paddle.Tensor | None) -> paddle.Tensor:
        x = self.attention_norm(x + self.attention(x, lengths))
        return self.norm(x + self.linear2(gelu_by_tanh(self.linear1(x))))


class TimeContext(nn.Layer):
    """Fewer channels, convolutions of several widths over frames, a transformer layer, the channels
    of the input again, and the input added. On ``[batch, channels, frames]``."""

    def __init__(
        self, channels: int, hidden: int, *, kernel_sizes: Sequence[int], heads: int
    ) -> None:
        super().__init__()
        self.reduce = Linear(channels, hidden)
        self.norm = nn.LayerNorm(hidden, epsilon=_EPSILON)
        self.convolutions = nn.LayerList(
            ConvNeXtBlock(hidden, kernel_size=size, groups=hidden, image=False)
            for size in kernel_sizes
        )
        self.transformer = TransformerLayer(hidden, heads=heads)
        self.expand = Linear(hidden, channels)

    def forward(self, x: paddle.Tensor, lengths: paddle.Tensor | None) -> paddle.Tensor:
        y = self.norm(self.reduce(x.transpose([0, 2, 1]))).transpose([0, 2, 1])
        for block in self.convolutions:
            y = block(y, lengths)
        y = self.expand(self.transformer(y.transpose([0, 2, 1]), lengths))
        return x + y.transpose([0, 2, 1])
