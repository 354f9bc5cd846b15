"""The stages of ReDimNet.

Sequences are ``[batch, channels * mels, frames]``, mel by mel; images ``[batch, channels, mels,
frames]``. ``lengths`` ``[batch]`` (int64) are the numbers of real frames. Padding of the input is
ignored; that of the result is not zero.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, TypeAlias

import paddle
import paddle.nn.functional as F
from paddle import nn

from vprtrain.errors import UsageError
from vprtrain.layers.blocks import conv_norm, masked, mean_over_frames, relu
from vprtrain.layers.frame_context import ConvNeXtBlock, TimeContext
from vprtrain.layers.initialisation import Conv2D, Linear

BlockName: TypeAlias = Literal["convnext", "basic", "basic_se"]

_CONTEXT_KERNELS = (7, 19, 31, 59)
HEADS = 4
"""Of the attention of a stage."""


def as_sequence(image: paddle.Tensor) -> paddle.Tensor:
    """An image as a sequence."""
    return image.transpose([0, 2, 1, 3]).flatten(1, 2)


def as_image(sequence: paddle.Tensor, channels: int) -> paddle.Tensor:
    """A sequence as an image of so many channels."""
    mels = sequence.shape[1] // channels
    return sequence.reshape([0, mels, channels, -1]).transpose([0, 2, 1, 3])


class WeightedSum(nn.Layer):
    """The sum of several sequences, each value with weights of its own that add up to one."""

    def __init__(self, count: int, size: int) -> None:
        super().__init__()
        self.weight = self.create_parameter(
            [1, count, size, 1], default_initializer=nn.initializer.Constant(0.0)
        )

    def forward(self, sequences: Sequence[paddle.Tensor]) -> paddle.Tensor:
        weights = F.softmax(self.weight, axis=1)
        total = weights[:, 0] * sequences[0]
        for i in range(1, len(sequences)):
            total = total + weights[:, i] * sequences[i]
        return total


class Stage(nn.Layer):
    """One stage, from a sequence to a sequence of the same size.

    Args:
        channels: of the image that the stage reads.
        mels: of that image, a multiple of ``stride``.
        stride: divides the mels and multiplies the channels.
        blocks: the number of two-dimensional blocks.
        block: their kind.
        expansion: how many times wider they are.
        group_width: the channels of a group of their convolutions.
        reduction: how many times narrower than the sequence the attention is; 0 for none.
    """

    def __init__(
        self,
        channels: int,
        mels: int,
        *,
        stride: int,
        blocks: int,
        block: BlockName,
        expansion: int,
        group_width: int,
        reduction: int,
    ) -> None:
        super().__init__()
        self._channels = channels
        size = channels * mels
        channels, mels = channels * stride, mels // stride
        width = channels * expansion
        self.conv = Conv2D(self._channels, width, (stride, 1), stride=(stride, 1))
        groups = group_count(width, group_width)
        self.blocks = nn.LayerList(
            ConvNeXtBlock(width, kernel_size=3, groups=groups, image=True)
            if block == "convnext"
            else GroupedBasicBlock(width, groups=groups, gated_mels=mels * (block == "basic_se"))
            for _ in range(blocks)
        )
        self.squeeze = (
            Squeeze(width, channels, groups=group_count(channels, group_width))
            if expansion > 1
            else None
        )
        self.context = (
            TimeContext(size, size // reduction, kernel_sizes=_CONTEXT_KERNELS, heads=HEADS)
            if reduction
            else None
        )

    def forward(self, x: paddle.Tensor, lengths: paddle.Tensor | None) -> paddle.Tensor:
        x = self.conv(as_image(x, self._channels))
        for block in self.blocks:
            x = block(x, lengths)
        if self.squeeze is not None:
            x = self.squeeze(x, lengths)
        x = as_sequence(x)
        return x if self.context is None else self.context(x, lengths)


class GroupedBasicBlock(nn.Layer):
    """Two grouped convolutions, each followed by one of kernel 1; gates over the mels where
    ``gated_mels`` is their number and not 0; and the input added. On images."""

    def __init__(self, channels: int, *, groups: int, gated_mels: int) -> None:
        super().__init__()
        self.conv1 = Conv2D(channels, channels, 3, padding=1, groups=groups, bias=False)
        self.pointwise1 = Conv2D(channels, channels, 1)
        self.bn1 = nn.BatchNorm2D(channels)
        self.conv2 = Conv2D(channels, channels, 3, padding=1, groups=groups, bias=False)
        self.pointwise2 = Conv2D(channels, channels, 1)
        self.bn2 = nn.BatchNorm2D(channels)
        hidden = min(64, max(channels, 32))
        self.se = MelExcitation(gated_mels, hidden) if gated_mels else None

    def forward(self, x: paddle.Tensor, lengths: paddle.Tensor | None) -> paddle.Tensor:
        y = self.bn1(relu(self.pointwise1(self.conv1(masked(x, lengths)))))
        y = conv_norm(self.conv2(masked(y, lengths)), self.pointwise2, self.bn2)
        if self.se is not None:
            y = self.se(y, lengths)
        return relu(y + x)


class MelExcitation(nn.Layer):
    """Mels scaled by gates computed from their mean over channels and real frames. On images."""

    def __init__(self, mels: int, hidden: int) -> None:
        super().__init__()
        self.linear1 = Linear(mels, hidden)
        self.linear2 = Linear(hidden, mels)

    def forward(self, x: paddle.Tensor, lengths: paddle.Tensor | None) -> paddle.Tensor:
        mean = mean_over_frames(x.mean(1), lengths)
        gate = F.sigmoid(self.linear2(F.relu(self.linear1(mean))))
        return x * gate.unsqueeze([1, 3])


class Squeeze(nn.Layer):
    """From the width of the blocks back to the image's channels: a grouped convolution, batch
    normalisation, GELU, a convolution of kernel 1. On images."""

    def __init__(self, in_channels: int, out_channels: int, *, groups: int) -> None:
        super().__init__()
        self.conv = Conv2D(in_channels, out_channels, 3, padding=1, groups=groups)
        self.norm = nn.BatchNorm2D(out_channels, epsilon=1e-6)
        self.pointwise = Conv2D(out_channels, out_channels, 1)

    def forward(self, x: paddle.Tensor, lengths: paddle.Tensor | None) -> paddle.Tensor:
        return self.pointwise(F.gelu(conv_norm(masked(x, lengths), self.conv, self.norm)))


def group_count(channels: int, width: int) -> int:
    """The number of groups of about ``width`` channels, as in the reference: rounded down, and at
    least one.

    Raises:
        UsageError: groups of the same size are not possible.
    """
    groups = max(channels // width, 1)
    if channels % groups:
        raise UsageError(
            f"ReDimNet cannot split {channels} channels in {groups} groups: choose a group_width "
            "that divides the channels of each stage"
        )
    return groups
