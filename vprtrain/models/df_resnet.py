"""DF-ResNet (https://www.isca-archive.org/interspeech_2022/liu22_interspeech.html) with the strides
of Golden Gemini (https://arxiv.org/abs/2312.03620)."""

from __future__ import annotations

from collections.abc import Sequence

import paddle
from paddle import nn

from vprtrain.errors import UsageError, shown
from vprtrain.layers.blocks import Stem, conv_norm, masked, relu, strided_lengths
from vprtrain.layers.initialisation import Conv2D
from vprtrain.layers.sizes import require_channels
from vprtrain.models.pooling import PoolingName
from vprtrain.models.residual import ResidualEncoder, ResidualStages, Stride, stage_widths

_STRIDES: tuple[Stride, ...] = ((2, 1), (2, 2), (2, 1), (2, 1))
"""Golden Gemini's T14c: mels are halved four times, frames once."""
_EXPANSION = 4


class DFResNet(ResidualEncoder):
    """Gemini DF-ResNet as in WeSpeaker: deep and narrow, each stage a strided convolution and
    inverted bottlenecks, pooling over frames, one linear layer.

    The stages are ``channels`` wide, and twice as wide each; ``blocks`` counts each stage's
    bottlenecks: 3, 3, 9, 3 in Gemini_DF_ResNet60; 3, 3, 27, 3 in 114, the default with 6,531,552
    trained parameters; 3, 8, 45, 3 in 183; 3, 8, 63, 3 in 237.

    Args:
        input_size: the number of values of a feature frame.
        embedding_dim: the number of values of an embedding.
        channels: the width of the stem and of the first stage.
        blocks: the number of inverted bottlenecks of each of the four stages.
        pooling: the pooling over frames; see :func:`~vprtrain.models.pooling.build_pooling`.
        pooling_eps: the pooling's ``eps``; ``None`` is its default.
        second_embedding: add ReLU, batch normalisation and one more linear layer.

    Raises:
        UsageError: a value is out of its range, or ``blocks`` has another length than 4.
    """

    def __init__(
        self,
        *,
        input_size: int = 80,
        embedding_dim: int = 256,
        channels: int = 32,
        blocks: Sequence[int] = (3, 3, 27, 3),
        pooling: PoolingName = "TSTP",
        pooling_eps: float | None = 1e-7,
        second_embedding: bool = False,
    ) -> None:
        require_channels(channels=channels)
        widths = stage_widths(channels, blocks)
        if len(blocks) != len(_STRIDES):
            raise UsageError(f"blocks are {shown(blocks)}; expected a number for each of 4 stages")
        super().__init__(
            input_size=input_size,
            embedding_dim=embedding_dim,
            stem=Stem(channels),
            stages=ResidualStages(
                InvertedBottleneck,
                channels,
                widths,
                [1 + count for count in blocks],
                strides=_STRIDES,
                first=Downsampling,
            ),
            pooling=pooling,
            pooling_eps=pooling_eps,
            second_embedding=second_embedding,
        )


class Downsampling(nn.Layer):
    """A 3 x 3 convolution with the ``stride``, and batch normalisation.

    Input and result are ``[batch, channels, mels, frames]``, zero on padding; ``lengths`` are those
    of the input.
    """

    def __init__(self, in_channels: int, out_channels: int, *, stride: Stride) -> None:
        super().__init__()
        self.conv = Conv2D(in_channels, out_channels, 3, stride=stride, padding=1, bias=False)
        self.bn = nn.BatchNorm2D(out_channels)
        self._frame_stride = stride[1]

    def forward(self, x: paddle.Tensor, lengths: paddle.Tensor | None) -> paddle.Tensor:
        return masked(
            conv_norm(x, self.conv, self.bn), strided_lengths(lengths, self._frame_stride)
        )


class InvertedBottleneck(nn.Layer):
    """Convolutions of kernel 1 to four times the channels, 3 x 3 for each channel alone, and of
    kernel 1 back; the input is added.

    Input and result are ``[batch, channels, mels, frames]``, zero on padding.
    """

    def __init__(self, in_channels: int, out_channels: int, *, stride: Stride = (1, 1)) -> None:
        super().__init__()
        hidden = _EXPANSION * in_channels
        self.conv1 = Conv2D(in_channels, hidden, 1, bias=False)
        self.bn1 = nn.BatchNorm2D(hidden)
        self.conv2 = Conv2D(hidden, hidden, 3, stride=stride, padding=1, groups=hidden, bias=False)
        self.bn2 = nn.BatchNorm2D(hidden)
        self.conv3 = Conv2D(hidden, out_channels, 1, bias=False)
        self.bn3 = nn.BatchNorm2D(out_channels)

    def forward(self, x: paddle.Tensor, lengths: paddle.Tensor | None) -> paddle.Tensor:
        y = masked(relu(conv_norm(x, self.conv1, self.bn1)), lengths)
        y = relu(conv_norm(y, self.conv2, self.bn2))
        return masked(relu(conv_norm(y, self.conv3, self.bn3) + x), lengths)
