"""ResNet of pre-activated blocks (https://arxiv.org/abs/1603.05027) over spectrograms, as in
SpeechBrain."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import paddle
from paddle import nn
from paddle.nn.initializer import KaimingNormal

from vprtrain.errors import UsageError, require_whole, shown
from vprtrain.layers.blocks import Shortcut, Stem, masked, relu, strided_lengths
from vprtrain.layers.initialisation import Conv2D, Linear, redraw
from vprtrain.layers.sizes import MOST_CHANNELS
from vprtrain.models.encoder import SpeakerEncoder
from vprtrain.models.pooling import PoolingName, build_pooling
from vprtrain.models.residual import Stage, least_frames
from vprtrain.models.resnet_se import SqueezeExcitation2D


class ResNetTDNN(SpeakerEncoder):
    """SpeechBrain's ResNet, published as ResNet-TDNN: pre-activated blocks, those of the first
    stages with squeeze-and-excitation; attentive statistics pooling; batch normalisation before and
    after one linear layer.

    15,438,336 trained parameters by default.

    Args:
        input_size: the number of values of a feature frame.
        embedding_dim: the number of values of an embedding.
        channels: the width of each stage.
        blocks: the number of blocks of each stage.
        gated_stages: the number of stages, from the first on, whose blocks have
            squeeze-and-excitation.
        pooling: the pooling over frames; see :func:`~vprtrain.models.pooling.build_pooling`.
    """

    def __init__(
        self,
        *,
        input_size: int = 80,
        embedding_dim: int = 256,
        channels: Sequence[int] = (128, 128, 256, 256),
        blocks: Sequence[int] = (3, 4, 6, 3),
        gated_stages: int = 2,
        pooling: PoolingName = "LASP",
    ) -> None:
        super().__init__(
            input_size=input_size, embedding_dim=embedding_dim, min_frames=least_frames(blocks)
        )
        _require_channels(channels, blocks)
        require_whole("gated_stages", gated_stages, 0, len(blocks))
        self.stem = Stem(channels[0])
        self.stages = nn.LayerList(
            Stage(
                partial(PreActivatedBlock, gated=i < gated_stages),
                channels[max(i - 1, 0)],
                width,
                blocks=count,
                stride=(2, 2) if i else (1, 1),
            )
            for i, (width, count) in enumerate(zip(channels, blocks, strict=True))
        )
        mels = -(-input_size // (1 << len(blocks) - 1))
        self.pooling = build_pooling(pooling, channels[-1] * mels)
        self.pooling_norm = nn.BatchNorm1D(self.pooling.output_size)
        self.embedding = Linear(self.pooling.output_size, embedding_dim)
        self.embedding_norm = nn.BatchNorm1D(embedding_dim)
        redraw(self, Conv2D, weight=KaimingNormal(mode="fan_out"))  # as in SpeechBrain

    def encode(self, x: paddle.Tensor, lengths: paddle.Tensor | None) -> paddle.Tensor:
        x = self.stem(x, lengths)
        for stage in self.stages:
            x, lengths = stage(x, lengths)
        pooled = self.pooling_norm(self.pooling(x.flatten(1, 2), lengths))
        return self.embedding_norm(self.embedding(pooled))


def _require_channels(channels: Sequence[int], blocks: Sequence[int]) -> None:
    if not isinstance(channels, Sequence) or len(channels) != len(blocks):
        raise UsageError(
            f"channels are {shown(channels)} and blocks {shown(blocks)}; expected one width for "
            "each stage"
        )
    for width in channels:
        require_whole("a value of channels", width, 1, MOST_CHANNELS)


class PreActivatedBlock(nn.Layer):
    """Convolutions of kernel 3 (with the ``stride``), 3 and 1, each after batch normalisation and
    ReLU; gates where ``gated``; and the shortcut added.

    On ``[batch, channels, mels, frames]``; ``lengths`` are those of the input. Padding of
    the input is ignored; that of the result is not zero.
    """

    def __init__(
        self, in_channels: int, out_channels: int, *, stride: tuple[int, int], gated: bool
    ) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2D(in_channels)
        self.conv1 = Conv2D(in_channels, out_channels, 3, stride=stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2D(out_channels)
        self.conv2 = Conv2D(out_channels, out_channels, 3, padding=1, bias=False)
        self.bn3 = nn.BatchNorm2D(out_channels)
        self.conv3 = Conv2D(out_channels, out_channels, 1, bias=False)
        self.se = SqueezeExcitation2D(out_channels, out_channels) if gated else None
        self.shortcut = Shortcut(in_channels, out_channels, stride=stride)
        self._frame_stride = stride[1]

    def forward(self, x: paddle.Tensor, lengths: paddle.Tensor | None) -> paddle.Tensor:
        y = self.conv1(masked(relu(self.bn1(x)), lengths))
        lengths = strided_lengths(lengths, self._frame_stride)
        y = self.conv2(masked(relu(self.bn2(y)), lengths))
        y = self.conv3(relu(self.bn3(y)))
        if self.se is not None:
            y = self.se(y, lengths)
        return y + self.shortcut(x)
