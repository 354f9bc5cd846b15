"""ERes2Net (https://arxiv.org/abs/2305.12838) and ERes2NetV2 (https://arxiv.org/abs/2406.02167).

Both have stages of Res2 blocks, each with half as many mels and frames as the one before and twice
as wide. Their outputs are fused from the bottom up: the fusion so far is brought to the next
stage's shape and fused with that stage's output. The last fusion is pooled over frames.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TypeAlias

import paddle
from paddle import nn

from vprtrain.errors import require_flags, require_whole
from vprtrain.layers.blocks import Stem, conv_norm, masked, silu
from vprtrain.layers.initialisation import Conv2D, Linear
from vprtrain.layers.sizes import require_channels
from vprtrain.models.encoder import SpeakerEncoder
from vprtrain.models.pooling import PoolingName, build_pooling
from vprtrain.models.recompute import recomputed
from vprtrain.models.res2net import Res2Block, Res2Parts
from vprtrain.models.residual import SecondEmbedding, Stage, least_frames, stage_widths

StageOutput: TypeAlias = tuple[paddle.Tensor, paddle.Tensor | None]
"""``[batch, channels, mels, frames]`` and its lengths."""


class ERes2Net(SpeakerEncoder):
    """ERes2Net as in 3D-Speaker: all stages are fused. 6,610,688 trained parameters by default.

    ``channels`` 64 is the large model (22,462,784), with ``base_width`` 24, ``scale`` 3 and
    ``expansion`` 4 the huge one (55,165,024). With ``bias`` and ``affine`` it is ppvector's
    (6,620,128).

    Args:
        input_size: the number of values of a feature frame.
        embedding_dim: the number of values of an embedding.
        channels: the first stage is ``channels * expansion`` wide.
        blocks: the number of blocks of each stage.
        base_width: the width of a block's parts; see
            :class:`~vprtrain.models.res2net.Res2Parts`.
        scale: the number of parts of a block.
        expansion: the ratio of a block's output to its inner width.
        pooling: the pooling over frames; see :func:`~vprtrain.models.pooling.build_pooling`.
        pooling_eps: the pooling's ``eps``; ``None`` is its default.
        second_embedding: add ReLU, batch normalisation and one more linear layer.
        bias: give every convolution a bias.
        affine: give the second embedding's batch normalisation a scale and a shift.
        recompute: in the first stages, this many of them, keep only the blocks' inputs for the
            backward pass, which computes the rest again: less memory, the same gradients. ``True``
            is all stages and their fusions. ERes2NetV2 needs two thirds of the memory and a sixth
            more time with 2, half of the memory and a quarter more time with ``True``.
    """

    def __init__(
        self,
        *,
        input_size: int = 80,
        embedding_dim: int = 192,
        channels: int = 32,
        blocks: Sequence[int] = (3, 4, 6, 3),
        base_width: int = 32,
        scale: int = 2,
        expansion: int = 2,
        pooling: PoolingName = "TSTP",
        pooling_eps: float | None = None,
        second_embedding: bool = False,
        bias: bool = False,
        affine: bool = False,
        recompute: bool | int = False,
    ) -> None:
        super().__init__(
            input_size=input_size,
            embedding_dim=embedding_dim,
            min_frames=least_frames(blocks),
        )
        require_channels(channels=channels)
        require_flags(second_embedding=second_embedding, bias=bias, affine=affine)
        parts = Res2Parts(base_width=base_width, scale=scale, expansion=expansion)
        self.stem = Stem(channels, bias=bias)
        self.stages = ERes2Stages(channels, blocks, parts=parts, bias=bias, recompute=recompute)
        self.fusions = StageFusions(self.stages.widths[1:], bias=bias, recompute=recompute is True)
        size = self.stages.output_size(input_size)
        self.pooling = build_pooling(pooling, size, eps=pooling_eps)
        self.embedding = Linear(self.pooling.output_size, embedding_dim)
        self.second_embedding = (
            SecondEmbedding(embedding_dim, affine=affine) if second_embedding else nn.Identity()
        )

    def encode(self, x: paddle.Tensor, lengths: paddle.Tensor | None) -> paddle.Tensor:
        x, lengths = self.fusions(self.stages(self.stem(x, lengths), lengths))
        return self.second_embedding(self.embedding(self.pooling(x.flatten(1, 2), lengths)))


class ERes2NetV2(SpeakerEncoder):
    """ERes2NetV2 as in 3D-Speaker: wider, and only the third and fourth stages are fused.

    17,859,632 trained parameters by default.

    Args:
        input_size: the number of values of a feature frame.
        embedding_dim: the number of values of an embedding.
        channels: the first stage is ``channels * expansion`` wide.
        blocks: the number of blocks of each stage.
        base_width: the width of a block's parts; see
            :class:`~vprtrain.models.res2net.Res2Parts`.
        scale: the number of parts of a block.
        expansion: the ratio of a block's output to its inner width.
        pooling: the pooling over frames; see :func:`~vprtrain.models.pooling.build_pooling`.
        pooling_eps: the pooling's ``eps``; ``None`` is its default.
        second_embedding: add ReLU, batch normalisation and one more linear layer.
        recompute: as in :class:`ERes2Net`.
    """

    def __init__(
        self,
        *,
        input_size: int = 80,
        embedding_dim: int = 192,
        channels: int = 64,
        blocks: Sequence[int] = (3, 4, 6, 3),
        base_width: int = 26,
        scale: int = 2,
        expansion: int = 2,
        pooling: PoolingName = "TSTP",
        pooling_eps: float | None = None,
        second_embedding: bool = False,
        recompute: bool | int = False,
    ) -> None:
        super().__init__(
            input_size=input_size,
            embedding_dim=embedding_dim,
            min_frames=least_frames(blocks),
        )
        require_channels(channels=channels)
        require_flags(second_embedding=second_embedding)
        parts = Res2Parts(base_width=base_width, scale=scale, expansion=expansion)
        self.stem = Stem(channels)
        self.stages = ERes2Stages(channels, blocks, parts=parts, recompute=recompute)
        self.fusions = StageFusions(self.stages.widths[3:], recompute=recompute is True)
        size = self.stages.output_size(input_size)
        self.pooling = build_pooling(pooling, size, eps=pooling_eps)
        self.embedding = Linear(self.pooling.output_size, embedding_dim)
        self.second_embedding = (
            SecondEmbedding(embedding_dim) if second_embedding else nn.Identity()
        )

    def encode(self, x: paddle.Tensor, lengths: paddle.Tensor | None) -> paddle.Tensor:
        x, lengths = self.fusions(self.stages(self.stem(x, lengths), lengths))
        return self.second_embedding(self.embedding(self.pooling(x.flatten(1, 2), lengths)))


class ERes2Stages(nn.LayerList):
    """Stages of :class:`ERes2Block`; those of the last two stages are attentive.

    ``forward(x, lengths)`` gives the output of every stage, each with its own lengths.
    """

    def __init__(
        self,
        channels: int,
        blocks: Sequence[int],
        *,
        parts: Res2Parts,
        bias: bool = False,
        recompute: bool | int,
    ) -> None:
        if not isinstance(recompute, bool):
            require_whole("recompute", recompute, 0, len(blocks))
        recomputed_stages = len(blocks) if recompute is True else recompute
        widths = stage_widths(channels * parts.expansion, blocks)
        stages = []
        for i, count in enumerate(blocks):
            block = partial(
                ERes2Block,
                parts=parts,
                attentive=i >= len(blocks) - 2,
                bias=bias,
                recompute=i < recomputed_stages,
            )
            before, stride = (widths[i - 1], (2, 2)) if i else (channels, (1, 1))
            stages.append(Stage(block, before, widths[i], blocks=count, stride=stride))
        super().__init__(stages)
        self.widths = widths

    def output_size(self, mels: int) -> int:
        """Channels times mels of the last output; odd numbers of mels are halved upwards."""
        return self.widths[-1] * -(-mels // (1 << len(self) - 1))

    def forward(self, x: paddle.Tensor, lengths: paddle.Tensor | None) -> list[StageOutput]:
        outputs = []
        for stage in self:
            x, lengths = stage(x, lengths)
            outputs.append((x, lengths))
        return outputs


class StageFusions(nn.LayerList):
    """Fusions of the outputs of the last stages, from the first of them to the last.

    ``forward(outputs)`` takes the outputs of all stages; it gives the last fusion and its lengths.

    Args:
        widths: the channels of each fusion, those of the last ``len(widths)`` stages.
    """

    def __init__(self, widths: Sequence[int], *, bias: bool = False, recompute: bool) -> None:
        super().__init__(StageFusion(width, bias=bias, recompute=recompute) for width in widths)

    def forward(self, outputs: Sequence[StageOutput]) -> StageOutput:
        first = len(outputs) - len(self) - 1
        fused, lengths = outputs[first]
        for i, fusion in enumerate(self, first + 1):
            x, lengths = outputs[i]
            fused = fusion(x, fused, lengths)
        return fused, lengths


class ERes2Block(Res2Block):
    """:class:`Res2Block` with a convolution for every part; ``attentive`` ones fuse the parts by
    attention.

    Raises:
        UsageError: the parts are too narrow.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        stride: tuple[int, int] = (1, 1),
        parts: Res2Parts,
        attentive: bool,
        bias: bool,
        recompute: bool,
    ) -> None:
        part_channels = parts.channels(out_channels, least=4 if attentive else 1)
        super().__init__(
            in_channels, out_channels, stride=stride, parts=parts, convolve_all=True, bias=bias
        )
        self.fusions = nn.LayerList(
            AttentiveFusion(part_channels) for _ in range(parts.scale - 1 if attentive else 0)
        )
        self._recompute = recompute

    def forward(self, x: paddle.Tensor, lengths: paddle.Tensor | None) -> paddle.Tensor:
        if self._recompute:
            return recomputed(self, super().forward, x, lengths)
        return super().forward(x, lengths)

    def combine(self, index: int, previous: paddle.Tensor, part: paddle.Tensor) -> paddle.Tensor:
        return self.fusions[index - 1](previous, part) if len(self.fusions) else previous + part


class AttentiveFusion(nn.Layer):
    """The sum of two tensors of one shape with gates computed from both (AFF in the paper).

    ``(1 + a) x + (1 - a) y`` with ``a`` in (-1, 1) for each position and channel. It is zero where
    both tensors are.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = Conv2D(2 * channels, channels // 4, 1)
        self.bn1 = nn.BatchNorm2D(channels // 4)
        self.conv2 = Conv2D(channels // 4, channels, 1)
        self.bn2 = nn.BatchNorm2D(channels)

    def forward(self, x: paddle.Tensor, y: paddle.Tensor) -> paddle.Tensor:
        hidden = silu(conv_norm(paddle.concat([x, y], axis=1), self.conv1, self.bn1))
        gate = paddle.tanh(conv_norm(hidden, self.conv2, self.bn2))
        return x + y + gate * (x - y)


class StageFusion(nn.Layer):
    """A stage's output ``x`` fused with the fusion so far, after a convolution to the shape of
    ``x``."""

    def __init__(self, channels: int, *, bias: bool, recompute: bool) -> None:
        super().__init__()
        self.downsample = Conv2D(channels // 2, channels, 3, stride=2, padding=1, bias=bias)
        self.attention = AttentiveFusion(channels)
        self._recompute = recompute

    def forward(
        self, x: paddle.Tensor, fused: paddle.Tensor, lengths: paddle.Tensor | None
    ) -> paddle.Tensor:
        """``fused`` must be zero on padding; ``lengths`` are those of ``x``."""
        if self._recompute:
            return recomputed(self, self._fuse, x, fused, lengths)
        return self._fuse(x, fused, lengths)

    def _fuse(
        self, x: paddle.Tensor, fused: paddle.Tensor, lengths: paddle.Tensor | None
    ) -> paddle.Tensor:
        return self.attention(x, masked(self.downsample(fused), lengths))
