"""ERes2Net (https://arxiv.org/abs/2305.12838) and ERes2NetV2 (https://arxiv.org/abs/2406.02167)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import ClassVar

import paddle
from paddle import nn

from vprtrain.errors import UsageError
from vprtrain.layers.blocks import Stem, conv_norm, masked, silu
from vprtrain.models.encoder import SpeakerEncoder
from vprtrain.models.pooling import PoolingName, build_pooling
from vprtrain.models.recompute import recomputed
from vprtrain.models.res2net import Res2Block
from vprtrain.models.resnet import Stage


class ERes2Net(SpeakerEncoder):
    """ERes2Net as in 3D-Speaker; 6,610,688 trained parameters by default.

    Stages of Res2 blocks, each half as many mels and frames as the one before and twice as wide,
    follow on one another. Beside them the first stage's output is brought to the second's shape and
    fused with its output, that again with the third's, and so on; the last fusion is pooled over
    frames.

    ``blocks`` counts each stage's blocks, of ``scale`` parts each; the first stage is ``channels *
    expansion`` wide. ``channels`` 64 is the large model (22,462,784), with ``base_width`` 24,
    ``scale`` 3 and ``expansion`` 4 the huge one (55,165,024). ``second_embedding`` adds ReLU, batch
    normalisation and one more linear layer.

    ``bias`` gives every convolution a bias and ``affine`` that normalisation a scale and shift, as
    ppvector's ERes2Net has them (6,620,128). ``recompute`` keeps only the blocks' inputs for the
    backward pass: less than half of a training step's memory for about a third more time, and the
    same gradients.
    """

    _first_fused: ClassVar[int] = 0

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
        second_embedding: bool = False,
        bias: bool = False,
        affine: bool = False,
        recompute: bool = False,
    ) -> None:
        halvings = len(blocks) - 1
        # Statistics need two frames after the halvings of the time axis.
        super().__init__(
            input_size=input_size, embedding_dim=embedding_dim, min_frames=(1 << halvings) + 1
        )
        self.stem = Stem(channels, bias=bias)
        self.stages = nn.LayerList()
        width = channels
        for i, count in enumerate(blocks):
            block = partial(
                ERes2Block,
                base_width=base_width,
                scale=scale,
                expansion=expansion,
                attentive=i >= len(blocks) - 2,
                bias=bias,
                recompute=recompute,
            )
            out_channels = (channels << i) * expansion
            self.stages.append(
                Stage(block, width, out_channels, blocks=count, stride=2 if i else 1)
            )
            width = out_channels
        widths = [width >> i for i in reversed(range(halvings - self._first_fused))]
        self.fusions = nn.LayerList(
            StageFusion(fused, bias=bias, recompute=recompute) for fused in widths
        )
        self.pooling = build_pooling(pooling, width * -(-input_size // (1 << halvings)))
        self.embedding = nn.Linear(self.pooling.output_size, embedding_dim)
        self.second_embedding = nn.Identity()
        if second_embedding:
            self.second_embedding = nn.Sequential(
                nn.ReLU(),
                nn.BatchNorm1D(embedding_dim, weight_attr=affine, bias_attr=affine),
                nn.Linear(embedding_dim, embedding_dim),
            )

    def encode(self, x: paddle.Tensor, lengths: paddle.Tensor | None) -> paddle.Tensor:
        x = fused = self.stem(x, lengths)
        for i, stage in enumerate(self.stages):
            x, lengths = stage(x, lengths)
            fused = (
                x
                if i <= self._first_fused
                else self.fusions[i - self._first_fused - 1](x, fused, lengths)
            )
        return self.second_embedding(self.embedding(self.pooling(fused.flatten(1, 2), lengths)))


class ERes2NetV2(ERes2Net):
    """ERes2NetV2 as in 3D-Speaker: wider, and only the third and fourth stages are fused.

    17,859,632 trained parameters by default. The options are :class:`ERes2Net`'s.
    """

    _first_fused = 2

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
        second_embedding: bool = False,
        recompute: bool = False,
    ) -> None:
        super().__init__(
            input_size=input_size,
            embedding_dim=embedding_dim,
            channels=channels,
            blocks=blocks,
            base_width=base_width,
            scale=scale,
            expansion=expansion,
            pooling=pooling,
            second_embedding=second_embedding,
            recompute=recompute,
        )


class ERes2Block(Res2Block):
    """:class:`Res2Block` with a convolution for every part; ``attentive`` ones fuse the parts by
    attention."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        stride: tuple[int, int] = (1, 1),
        base_width: int,
        scale: int,
        expansion: int,
        attentive: bool,
        bias: bool,
        recompute: bool,
    ) -> None:
        part_channels = out_channels // expansion * base_width // 64
        least = 4 if attentive else 1
        if part_channels < least:
            raise UsageError(
                f"base_width {base_width} makes parts of {part_channels} channels in a stage {out_channels} channels "
                f"wide with expansion {expansion}, at least {least} are needed: raise channels or base_width"
            )
        super().__init__(
            in_channels,
            out_channels,
            stride=stride,
            base_width=base_width,
            scale=scale,
            expansion=expansion,
            convolve_all=True,
            bias=bias,
        )
        self.fusions = nn.LayerList(
            AttentiveFusion(part_channels) for _ in range(scale - 1 if attentive else 0)
        )
        self._recompute = recompute

    def forward(self, x: paddle.Tensor, lengths: paddle.Tensor | None) -> paddle.Tensor:
        if self._recompute:
            return recomputed(self, super().forward, x, lengths)
        return super().forward(x, lengths)

    def combine(self, index: int, previous: paddle.Tensor, part: paddle.Tensor) -> paddle.Tensor:
        return self.fusions[index - 1](previous, part) if len(self.fusions) else previous + part


class AttentiveFusion(nn.Layer):
    """Two tensors ``x`` and ``y`` of one shape added with gates computed from both: AFF in the
    paper.

    ``(1 + a) x + (1 - a) y`` with ``a`` in (-1, 1) for each position and channel; zeros where both
    have them.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2D(2 * channels, channels // 4, 1)
        self.bn1 = nn.BatchNorm2D(channels // 4)
        self.conv2 = nn.Conv2D(channels // 4, channels, 1)
        self.bn2 = nn.BatchNorm2D(channels)

    def forward(self, x: paddle.Tensor, y: paddle.Tensor) -> paddle.Tensor:
        hidden = silu(conv_norm(paddle.concat([x, y], axis=1), self.conv1, self.bn1))
        gate = paddle.tanh(conv_norm(hidden, self.conv2, self.bn2))
        return x + y + gate * (x - y)


class StageFusion(nn.Layer):
    """A stage's output fused with what was fused before, that brought to its shape by a
    convolution."""

    def __init__(self, channels: int, *, bias: bool, recompute: bool) -> None:
        super().__init__()
        self.downsample = nn.Conv2D(channels // 2, channels, 3, stride=2, padding=1, bias_attr=bias)
        self.attention = AttentiveFusion(channels)
        self._recompute = recompute

    def forward(
        self, x: paddle.Tensor, fused: paddle.Tensor, lengths: paddle.Tensor | None
    ) -> paddle.Tensor:
        """``fused`` has zeros on padding; ``lengths`` are those of ``x``."""
        if self._recompute:
            return recomputed(self, self._fuse, x, fused, lengths)
        return self._fuse(x, fused, lengths)

    def _fuse(
        self, x: paddle.Tensor, fused: paddle.Tensor, lengths: paddle.Tensor | None
    ) -> paddle.Tensor:
        return self.attention(x, masked(self.downsample(fused), lengths))
