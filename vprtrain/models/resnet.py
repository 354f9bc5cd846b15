"""ResNet (https://arxiv.org/abs/1512.03385) over spectrograms."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, TypeAlias

import paddle
import paddle.nn.functional as F
from paddle import nn

from vprtrain.errors import require_choice
from vprtrain.layers.blocks import (
    BasicBlock,
    Shortcut,
    Stem,
    conv_norm,
    masked,
    mean_over_positions,
    relu,
    strided_lengths,
)
from vprtrain.layers.initialisation import Conv2D
from vprtrain.layers.precision import as_float32
from vprtrain.layers.sizes import require_channels
from vprtrain.models.attentive_pooling import unbiased
from vprtrain.models.pooling import PoolingName
from vprtrain.models.residual import ResidualEncoder, ResidualStages, stage_widths

BlockName: TypeAlias = Literal["basic", "bottleneck", "simam"]

_SIMAM_LAMBDA = 1e-4
_EXPANSION = 4
"""The ratio of a bottleneck's output to its inner width."""


class ResNet(ResidualEncoder):
    """ResNet as in WeSpeaker and 3D-Speaker: a stem, stages of blocks, pooling over frames, one
    linear layer.

    ``blocks`` counts each stage's blocks. The inner width of a block is ``channels`` in the first
    stage, and twice as much in each further one.

    | network | block | blocks | trained parameters |
    |---|---|---|---|
    | ResNet18 | basic | 2, 2, 2, 2 | 4,105,440 |
    | ResNet34 | basic | 3, 4, 6, 3 | 6,634,336 |
    | ResNet50 | bottleneck | 3, 4, 6, 3 | 11,131,360 |
    | ResNet101 | bottleneck | 3, 4, 23, 3 | 15,892,448 |
    | ResNet152 | bottleneck | 3, 8, 36, 3 | 19,814,880 |
    | ResNet221 | bottleneck | 6, 16, 48, 3 | 23,792,224 |
    | ResNet293 | bottleneck | 10, 20, 64, 3 | 28,626,016 |
    | SimAM-ResNet34 | simam | 3, 4, 6, 3 | 25,213,760 |
    | SimAM-ResNet100 | simam | 6, 16, 24, 3 | 50,232,896 |

    The SimAM-ResNets have ``channels=64, pooling="LASP", pooling_eps=1e-5``. 3D-Speaker's ResNet34
    has ``embedding_dim=192, second_embedding=True, pooling_eps=1e-8`` (6,343,648).

    Args:
        input_size: the number of values of a feature frame.
        embedding_dim: the number of values of an embedding.
        channels: the width of the stem, and the inner width of the first stage.
        blocks: the number of blocks of each stage.
        block: its kind, "basic" (:class:`~vprtrain.layers.blocks.BasicBlock`), "bottleneck"
            (:class:`Bottleneck`) or "simam" (:class:`SimAMBlock`).
        pooling: the pooling over frames; see :func:`~vprtrain.models.pooling.build_pooling`.
        pooling_eps: the pooling's ``eps``; ``None`` is its default.
        second_embedding: add ReLU, batch normalisation and one more linear layer.
    """

    def __init__(
        self,
        *,
        input_size: int = 80,
        embedding_dim: int = 256,
        channels: int = 32,
        blocks: Sequence[int] = (3, 4, 6, 3),
        block: BlockName = "basic",
        pooling: PoolingName = "TSTP",
        pooling_eps: float | None = 1e-7,
        second_embedding: bool = False,
    ) -> None:
        require_channels(channels=channels)
        require_choice("block", block, _BLOCKS)
        made, expansion = _BLOCKS[block]
        widths = stage_widths(expansion * channels, blocks)
        super().__init__(
            input_size=input_size,
            embedding_dim=embedding_dim,
            stem=Stem(channels),
            stages=ResidualStages(made, channels, widths, blocks),
            pooling=pooling,
            pooling_eps=pooling_eps,
            second_embedding=second_embedding,
        )


class ResNet34(ResNet):
    """:class:`ResNet` by the name that its defaults have."""


class Bottleneck(nn.Layer):
    """Convolutions of kernel 1, 3 (with the ``stride``) and 1, and the shortcut (ResNet's
    bottleneck). The inner width is a quarter of the output's.

    Input and result are ``[batch, channels, mels, frames]``, zero on padding; ``lengths`` are those
    of the input.
    """

    def __init__(
        self, in_channels: int, out_channels: int, *, stride: tuple[int, int] = (1, 1)
    ) -> None:
        super().__init__()
        hidden = out_channels // _EXPANSION
        self.conv1 = Conv2D(in_channels, hidden, 1, bias=False)
        self.bn1 = nn.BatchNorm2D(hidden)
        self.conv2 = Conv2D(hidden, hidden, 3, stride=stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2D(hidden)
        self.conv3 = Conv2D(hidden, out_channels, 1, bias=False)
        self.bn3 = nn.BatchNorm2D(out_channels)
        self.shortcut = Shortcut(in_channels, out_channels, stride=stride)
        self._frame_stride = stride[1]

    def forward(self, x: paddle.Tensor, lengths: paddle.Tensor | None) -> paddle.Tensor:
        y = masked(relu(conv_norm(x, self.conv1, self.bn1)), lengths)
        lengths = strided_lengths(lengths, self._frame_stride)
        y = relu(conv_norm(y, self.conv2, self.bn2))
        return masked(relu(conv_norm(y, self.conv3, self.bn3) + self.shortcut(x)), lengths)


class SimAMBlock(BasicBlock):
    """A basic block that weights its positions by :func:`simam` before the shortcut is added, as in
    WeSpeaker's SimAM-ResNets."""

    def weighted(self, y: paddle.Tensor, lengths: paddle.Tensor | None) -> paddle.Tensor:
        return simam(y, lengths)


def simam(x: paddle.Tensor, lengths: paddle.Tensor | None) -> paddle.Tensor:
    """``x`` ``[batch, channels, mels, frames]`` weighted by an attention without parameters (SimAM,
    https://proceedings.mlr.press/v139/yang21o.html).

    The weight of a value is the sigmoid of ``d / (4 (v + 1e-4)) + 0.5``: ``d`` is its squared
    distance from the channel's mean over mels and real frames, ``v`` the channel's variance there,
    divided by their number - 1.
    """
    x = as_float32(x)
    squared = paddle.square(x - mean_over_positions(x, lengths).unsqueeze([2, 3]))
    variance = mean_over_positions(squared, lengths)
    positions = None if lengths is None else x.shape[2] * lengths
    variance = unbiased(variance, x.shape[2] * x.shape[3], positions)
    inverse_energy = squared / (4 * (variance + _SIMAM_LAMBDA)).unsqueeze([2, 3]) + 0.5
    return x * F.sigmoid(inverse_energy)


# The class of each block, and the ratio of its output to its inner width.
_BLOCKS: dict[str, tuple[type[nn.Layer], int]] = {
    "basic": (BasicBlock, 1),
    "bottleneck": (Bottleneck, _EXPANSION),
    "simam": (SimAMBlock, 1),
}
