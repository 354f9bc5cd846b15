"""ResNet (https://arxiv.org/abs/1512.03385) over spectrograms, and the parts that related networks
share."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import paddle
from paddle import nn

from vprtrain.errors import require_whole
from vprtrain.layers.blocks import BasicBlock, Stem, strided_lengths
from vprtrain.layers.sizes import MOST_CHANNELS, require_channels
from vprtrain.models.encoder import SpeakerEncoder, require_stages
from vprtrain.models.pooling import PoolingName, build_pooling


class ResNet34(SpeakerEncoder):
    """ResNet34 as in WeSpeaker: basic blocks, statistics pooling over frames, one linear layer.

    ``channels`` wide in the first stage, twice as wide in each further one; ``blocks`` counts each
    stage's. 6,634,336 trained parameters by default.

    Args:
        input_size: the number of values of a feature frame.
        embedding_dim: the number of values of an embedding.
        channels: the width of the first stage.
        blocks: the number of blocks of each stage.
        pooling: the pooling over frames; see :func:`~vprtrain.models.pooling.build_pooling`.
    """

    def __init__(
        self,
        *,
        input_size: int = 80,
        embedding_dim: int = 256,
        channels: int = 32,
        blocks: Sequence[int] = (3, 4, 6, 3),
        pooling: PoolingName = "TSTP",
    ) -> None:
        super().__init__(
            input_size=input_size, embedding_dim=embedding_dim, min_frames=least_frames(blocks)
        )
        require_channels(channels=channels)
        self.stem = Stem(channels)
        self.stages = ResidualStages(BasicBlock, channels, stage_widths(channels, blocks), blocks)
        self.pooling = build_pooling(pooling, self.stages.output_size(input_size), eps=1e-7)
        self.embedding = nn.Linear(self.pooling.output_size, embedding_dim)

    def encode(self, x: paddle.Tensor, lengths: paddle.Tensor | None) -> paddle.Tensor:
        x, lengths = self.stages(self.stem(x, lengths), lengths)
        return self.embedding(self.pooling(x.flatten(1, 2), lengths))


class Stage(nn.LayerList):
    """Residual blocks of one width; the first applies the ``stride`` of both axes.

    ``block(in_channels, out_channels, stride=(mels, frames))`` makes one; ``block(x, lengths)``
    gives the new x.
    """

    def __init__(
        self,
        block: Callable[..., nn.Layer],
        in_channels: int,
        out_channels: int,
        *,
        blocks: int,
        stride: int,
    ) -> None:
        first = block(in_channels, out_channels, stride=(stride, stride))
        super().__init__(
            [first, *(block(out_channels, out_channels, stride=(1, 1)) for _ in range(blocks - 1))]
        )
        self._stride = stride

    def forward(
        self, x: paddle.Tensor, lengths: paddle.Tensor | None
    ) -> tuple[paddle.Tensor, paddle.Tensor | None]:
        """The result and its own lengths."""
        first, *others = self
        x, lengths = first(x, lengths), strided_lengths(lengths, self._stride)
        for block in others:
            x = block(x, lengths)
        return x, lengths


class ResidualStages(nn.LayerList):
    """A ResNet's stages, ``blocks[i]`` blocks ``widths[i]`` wide; each but the first halves mels
    and frames."""

    def __init__(
        self,
        block: Callable[..., nn.Layer],
        in_channels: int,
        widths: Sequence[int],
        blocks: Sequence[int],
    ) -> None:
        super().__init__(
            Stage(block, before, width, blocks=count, stride=2 if i else 1)
            for i, (before, width, count) in enumerate(
                zip([in_channels, *widths[:-1]], widths, blocks, strict=True)
            )
        )
        self._width = widths[-1]
        self._reduction = 1 << len(blocks) - 1

    def output_size(self, mels: int) -> int:
        """Channels times mels of the result; odd numbers of mels are halved upwards."""
        return self._width * -(-mels // self._reduction)

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
        UsageError: the last stage has more than :data:`~vprtrain.layers.sizes.MOST_CHANNELS`.
    """
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
