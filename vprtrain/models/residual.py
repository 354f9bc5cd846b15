"""What the residual networks over spectrograms share: stages of blocks, and the way from the last
stage to the embedding."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TypeAlias

import paddle
from paddle import nn

from vprtrain.errors import require_flags, require_whole
from vprtrain.layers.blocks import strided_lengths
from vprtrain.layers.initialisation import Linear
from vprtrain.layers.sizes import MOST_CHANNELS
from vprtrain.models.encoder import SpeakerEncoder, require_stages
from vprtrain.models.pooling import PoolingName, build_pooling

Stride: TypeAlias = tuple[int, int]
"""Of mels and of frames."""


class ResidualEncoder(SpeakerEncoder):
    """A stem, stages, pooling over frames, and one linear layer, or two.

    Args:
        input_size: the number of values of a feature frame.
        embedding_dim: the number of values of an embedding.
        stem: ``stem(x, lengths)`` maps ``[batch, mels, frames]`` to ``[batch, channels, mels,
            frames]``.
        stages: the stages.
        pooling: the pooling over frames; see :func:`~vprtrain.models.pooling.build_pooling`.
        pooling_eps: the pooling's ``eps``; ``None`` is its default.
        second_embedding: add ReLU, batch normalisation and one more linear layer.
    """

    def __init__(
        self,
        *,
        input_size: int,
        embedding_dim: int,
        stem: nn.Layer,
        stages: ResidualStages,
        pooling: PoolingName,
        pooling_eps: float | None,
        second_embedding: bool,
    ) -> None:
        # Statistics need two frames.
        super().__init__(
            input_size=input_size,
            embedding_dim=embedding_dim,
            min_frames=stages.frame_reduction + 1,
        )
        require_flags(second_embedding=second_embedding)
        self.stem = stem
        self.stages = stages
        self.pooling = build_pooling(pooling, stages.output_size(input_size), eps=pooling_eps)
        self.embedding = Linear(self.pooling.output_size, embedding_dim)
        self.second_embedding = (
            SecondEmbedding(embedding_dim) if second_embedding else nn.Identity()
        )

    def encode(self, x: paddle.Tensor, lengths: paddle.Tensor | None) -> paddle.Tensor:
        x, lengths = self.stages(self.stem(x, lengths), lengths)
        return self.second_embedding(self.embedding(self.pooling(x.flatten(1, 2), lengths)))


class SecondEmbedding(nn.Sequential):
    """ReLU, batch normalisation, and one more linear layer after the embedding's own."""

    def __init__(self, size: int, *, affine: bool = False) -> None:
        super().__init__(
            nn.ReLU(),
            nn.BatchNorm1D(size, weight_attr=affine, bias_attr=affine),
            Linear(size, size),
        )


class Stage(nn.LayerList):
    """Residual blocks of one width; the first applies the ``stride``.

    ``block(in_channels, out_channels, stride=(mels, frames))`` makes one; ``block(x, lengths)``
    gives the new x. ``first`` makes the first one, if it is another.
    """

    def __init__(
        self,
        block: Callable[..., nn.Layer],
        in_channels: int,
        out_channels: int,
        *,
        blocks: int,
        stride: Stride,
        first: Callable[..., nn.Layer] | None = None,
    ) -> None:
        super().__init__([(first or block)(in_channels, out_channels, stride=stride)])
        self.extend(block(out_channels, out_channels, stride=(1, 1)) for _ in range(blocks - 1))
        self._frame_stride = stride[1]

    def forward(
        self, x: paddle.Tensor, lengths: paddle.Tensor | None
    ) -> tuple[paddle.Tensor, paddle.Tensor | None]:
        """The result and its own lengths."""
        first, *others = self
        x, lengths = first(x, lengths), strided_lengths(lengths, self._frame_stride)
        for block in others:
            x = block(x, lengths)
        return x, lengths


class ResidualStages(nn.LayerList):
    """The stages of a network, ``blocks[i]`` blocks ``widths[i]`` wide.

    ``strides`` are those of each stage; ``None``: each but the first halves mels and frames, as in
    ResNet. ``block`` and ``first`` are those of :class:`Stage`.
    """

    def __init__(
        self,
        block: Callable[..., nn.Layer],
        in_channels: int,
        widths: Sequence[int],
        blocks: Sequence[int],
        *,
        strides: Sequence[Stride] | None = None,
        first: Callable[..., nn.Layer] | None = None,
    ) -> None:
        strides = strides or [(1, 1), *[(2, 2)] * (len(blocks) - 1)]
        super().__init__(
            Stage(block, before, width, blocks=count, stride=stride, first=first)
            for before, width, count, stride in zip(
                [in_channels, *widths[:-1]], widths, blocks, strides, strict=True
            )
        )
        self._width = widths[-1]
        self._strides = strides

    @property
    def frame_reduction(self) -> int:
        """The number of frames that become one."""
        return math.prod(frames for _, frames in self._strides)

    def output_size(self, mels: int) -> int:
        """Channels times mels of the result; numbers of mels are divided upwards."""
        for stride, _ in self._strides:
            mels = -(-mels // stride)
        return self._width * mels

    def forward(
        self, x: paddle.Tensor, lengths: paddle.Tensor | None
    ) -> tuple[paddle.Tensor, paddle.Tensor | None]:
        """The result and its own lengths."""
        for stage in self:
            x, lengths = stage(x, lengths)
        return x, lengths


def stage_widths(first: int, blocks: Sequence[int]) -> list[int]:
    """The channels of each stage: those of the first, and twice as many in each further one.

    Raises:
        UsageError: ``blocks`` does not count the blocks of each stage, or the last stage has more
            than :data:`~vprtrain.layers.sizes.MOST_CHANNELS`.
    """
    require_stages("blocks", blocks, 1)
    widths = [first << i for i in range(len(blocks))]
    require_whole(f"the width of the last of {len(blocks)} stages", widths[-1], 1, MOST_CHANNELS)
    return widths


def least_frames(blocks: Sequence[int]) -> int:
    """The smallest number of frames for these stages: each stage but the first halves the time
    axis, and the statistics then need two frames.

    Raises:
        UsageError: ``blocks`` does not count the blocks of each stage.
    """
    require_stages("blocks", blocks, 1)
    return (1 << len(blocks) - 1) + 1
