"""ResNet with squeeze-and-excitation (https://arxiv.org/abs/1709.01507), as in ppvector."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import paddle
import paddle.nn.functional as F
from paddle import nn
from paddle.nn.initializer import KaimingNormal

from vprtrain.errors import require_whole
from vprtrain.layers.blocks import (
    Shortcut,
    Stem,
    conv_norm,
    masked,
    mean_over_positions,
    relu,
    strided_lengths,
)
from vprtrain.layers.initialisation import Conv2D, Linear, draw_as_paddle
from vprtrain.layers.sizes import require_channels
from vprtrain.models.encoder import SpeakerEncoder
from vprtrain.models.pooling import PoolingName, build_pooling
from vprtrain.models.residual import ResidualStages, least_frames, stage_widths


class ResNetSE(SpeakerEncoder):
    """ResNet of SE bottlenecks as in ppvector: attentive statistics pooling, batch normalisation,
    one linear layer.

    The stages are ``2 * channels`` wide and twice as wide each; ``blocks`` counts each stage's; the
    gates' hidden layer is ``reduction`` times narrower than its block. Every convolution has a
    bias. 9,132,056 trained parameters by default.

    Args:
        input_size: the number of values of a feature frame.
        embedding_dim: the number of values of an embedding.
        channels: the first stage is twice as wide.
        blocks: the number of blocks of each stage.
        reduction: how many times narrower the gates' hidden layer is than its block.
        pooling: the pooling over frames; see :func:`~vprtrain.models.pooling.build_pooling`.
    """

    def __init__(
        self,
        *,
        input_size: int = 80,
        embedding_dim: int = 192,
        channels: int = 32,
        blocks: Sequence[int] = (3, 4, 6, 3),
        reduction: int = 8,
        pooling: PoolingName = "ASP",
    ) -> None:
        super().__init__(
            input_size=input_size, embedding_dim=embedding_dim, min_frames=least_frames(blocks)
        )
        require_channels(channels=channels)
        require_whole("reduction", reduction, 1, 2 * channels)
        self.stem = Stem(channels, bias=True)
        widths = stage_widths(2 * channels, blocks)
        self.stages = ResidualStages(
            partial(SEBottleneck, reduction=reduction), channels, widths, blocks
        )
        self.pooling = build_pooling(pooling, self.stages.output_size(input_size))
        self.pooling_norm = nn.BatchNorm1D(self.pooling.output_size)
        self.embedding = Linear(self.pooling.output_size, embedding_dim)
        # ppvector is built on Paddle, and its last layer is a convolution over time.
        draw_as_paddle(self)
        KaimingNormal()(self.embedding.weight)

    def encode(self, x: paddle.Tensor, lengths: paddle.Tensor | None) -> paddle.Tensor:
        x, lengths = self.stages(self.stem(x, lengths), lengths)
        return self.embedding(self.pooling_norm(self.pooling(x.flatten(1, 2), lengths)))


class SEBottleneck(nn.Layer):
    """Convolutions of kernel 1, 3 (with the ``stride``) and 1, gates, and the shortcut.

    Input and result are ``[batch, channels, mels, frames]``, zero on padding; ``lengths`` are those
    of the input.
    """

    def __init__(
        self, in_channels: int, out_channels: int, *, stride: tuple[int, int], reduction: int
    ) -> None:
        super().__init__()
        hidden = out_channels // 2
        self.conv1 = Conv2D(in_channels, hidden, 1)
        self.bn1 = nn.BatchNorm2D(hidden)
        self.conv2 = Conv2D(hidden, hidden, 3, stride=stride, padding=1)
        self.bn2 = nn.BatchNorm2D(hidden)
        self.conv3 = Conv2D(hidden, out_channels, 1)
        self.bn3 = nn.BatchNorm2D(out_channels)
        self.se = SqueezeExcitation2D(out_channels, out_channels // reduction)
        self.shortcut = Shortcut(in_channels, out_channels, stride=stride, bias=True)
        self._frame_stride = stride[1]

    def forward(self, x: paddle.Tensor, lengths: paddle.Tensor | None) -> paddle.Tensor:
        y = masked(relu(conv_norm(x, self.conv1, self.bn1)), lengths)
        lengths = strided_lengths(lengths, self._frame_stride)
        y = relu(conv_norm(y, self.conv2, self.bn2))
        y = self.se(conv_norm(y, self.conv3, self.bn3), lengths)
        return masked(relu(y + self.shortcut(x)), lengths)


class SqueezeExcitation2D(nn.Layer):
    """Channels scaled by gates computed from their mean over mels and real frames."""

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.linear1 = Linear(channels, hidden)
        self.linear2 = Linear(hidden, channels)

    def forward(self, x: paddle.Tensor, lengths: paddle.Tensor | None) -> paddle.Tensor:
        mean = mean_over_positions(x, lengths)
        gate = F.sigmoid(self.linear2(F.relu(self.linear1(mean))))
        return x * gate.unsqueeze([2, 3])
