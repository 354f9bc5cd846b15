"""ReDimNet (https://arxiv.org/abs/2407.18223)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, get_args

import paddle
from paddle import nn

from vprtrain.errors import UsageError, require_choice, require_flags, require_whole, shown
from vprtrain.layers.blocks import masked
from vprtrain.layers.frame_context import ChannelNorm
from vprtrain.layers.initialisation import Conv2D, Linear
from vprtrain.layers.sizes import MOST_CHANNELS, require_channels
from vprtrain.models.encoder import SpeakerEncoder, require_stages
from vprtrain.models.pooling import PoolingName, build_pooling
from vprtrain.models.redimnet_stages import HEADS, BlockName, Stage, WeightedSum, as_sequence
from vprtrain.models.residual import SecondEmbedding

REDIMNET_SIZES: dict[str, dict[str, Any]] = {
    "B0": {
        "input_size": 60,
        "channels": 10,
        "strides": (1, 2, 1, 2, 1),
        "blocks": (2, 3, 3, 4, 3),
        "expansions": (1, 2, 3, 2, 1),
        "reductions": (30, 30, 30, 10, 10),
        "block": "basic",
        "group_width": 1,
    },
    "B1": {
        "input_size": 72,
        "channels": 12,
        "strides": (1, 2, 3, 2, 2),
        "blocks": (2, 3, 4, 5, 3),
        "expansions": (1, 1, 1, 1, 1),
        "reductions": (0, 0, 12, 12, 8),
        "block": "convnext",
        "group_width": 8,
    },
    "B2": {
        "input_size": 72,
        "channels": 16,
        "strides": (1, 2, 1, 2, 1, 2),
        "blocks": (2, 2, 3, 4, 4, 4),
        "expansions": (1, 1, 1, 1, 1, 1),
        "reductions": (12, 12, 12, 8, 8, 4),
        "block": "convnext",
        "group_width": 4,
    },
    "B3": {
        "input_size": 72,
        "channels": 16,
        "strides": (1, 2, 1, 2, 1, 2),
        "blocks": (6, 6, 8, 10, 10, 8),
        "expansions": (4, 2, 2, 2, 1, 1),
        "reductions": (32, 32, 32, 16, 16, 16),
        "block": "basic_se",
        "group_width": 1,
    },
    "B4": {
        "input_size": 72,
        "channels": 32,
        "strides": (1, 2, 1, 2, 1, 2),
        "blocks": (4, 4, 6, 6, 8, 4),
        "expansions": (2, 2, 2, 1, 1, 1),
        "reductions": (48, 48, 48, 32, 24, 16),
        "block": "basic_se",
        "group_width": 1,
    },
    "B5": {
        "input_size": 72,
        "channels": 32,
        "strides": (1, 2, 1, 2, 1, 2),
        "blocks": (4, 4, 6, 6, 8, 4),
        "expansions": (2, 2, 2, 1, 1, 1),
        "reductions": (48, 48, 48, 32, 24, 16),
        "block": "basic_se",
        "group_width": 16,
    },
    "B6": {
        "input_size": 72,
        "channels": 32,
        "strides": (1, 2, 1, 3, 1, 2),
        "blocks": (4, 6, 6, 8, 8, 8),
        "expansions": (4, 2, 2, 1, 1, 1),
        "reductions": (32, 32, 24, 24, 16, 16),
        "block": "basic",
        "group_width": 32,
    },
}
"""``ReDimNet(**REDIMNET_SIZES["B0"])``: the sizes of WeSpeaker's ReDimNetB0 to B6. Trained
parameters: 1,001,850; 2,123,480; 4,888,240; 3,220,412; 6,432,304; 7,650,544; 15,006,256."""


class ReDimNet(SpeakerEncoder):
    """ReDimNet: stages of two-dimensional blocks, joined by sequences of the same number of values.

    A stage reads the weighted sum of the stem's and all earlier stages' results as an image of
    channels and mels; a convolution divides the mels by its stride and multiplies the channels by
    it, blocks follow, and then, as a sequence again, convolutions over time and attention. By
    default it is WeSpeaker's ReDimNetB2 (4,888,240 trained parameters); the other sizes are
    :data:`REDIMNET_SIZES`. ID R&D's own network has ``pooling_norm=True`` too.

    The attention's memory grows with the square of the frames.

    Args:
        input_size: the number of values of a feature frame; the strides must divide it.
        embedding_dim: the number of values of an embedding.
        channels: of the stem.
        strides: for each stage, the divisor of the mels.
        blocks: the number of two-dimensional blocks of each stage.
        expansions: for each stage, how many times wider its blocks are.
        reductions: for each stage, how many times narrower its attention is than the sequence; 0
            for a stage without convolutions over time and attention.
        block: the two-dimensional blocks: ConvNeXt's, or ResNet's basic ones of grouped
            convolutions, with or without squeeze-and-excitation of the mels.
        group_width: the channels of a group of the blocks' convolutions.
        pooling: the pooling over frames; see :func:`~vprtrain.models.pooling.build_pooling`.
        global_context: let the attention of ASTP see the mean and deviation of the utterance.
        pooling_norm: add a batch normalisation after the pooling.
        embedding_norm: add a batch normalisation after the embedding's linear layer.
        second_embedding: add ReLU, batch normalisation and one more linear layer.
    """

    def __init__(
        self,
        *,
        input_size: int = 72,
        embedding_dim: int = 192,
        channels: int = 16,
        strides: Sequence[int] = (1, 2, 1, 2, 1, 2),
        blocks: Sequence[int] = (2, 2, 3, 4, 4, 4),
        expansions: Sequence[int] = (1, 1, 1, 1, 1, 1),
        reductions: Sequence[int] = (12, 12, 12, 8, 8, 4),
        block: BlockName = "convnext",
        group_width: int = 4,
        pooling: PoolingName = "ASTP",
        global_context: bool = True,
        pooling_norm: bool = False,
        embedding_norm: bool = False,
        second_embedding: bool = False,
    ) -> None:
        super().__init__(input_size=input_size, embedding_dim=embedding_dim, min_frames=2)
        require_channels(channels=channels, group_width=group_width)
        require_choice("block", block, get_args(BlockName))
        require_flags(
            global_context=global_context,
            pooling_norm=pooling_norm,
            embedding_norm=embedding_norm,
            second_embedding=second_embedding,
        )
        _require_stages(strides, blocks, expansions, reductions)
        _require_widths(input_size, channels, strides, expansions, reductions)
        size = channels * input_size
        self.stem = nn.Sequential(Conv2D(1, channels, 3, padding=1), ChannelNorm(channels))
        self.stages = nn.LayerList()
        for stride, count, expansion, reduction in zip(
            strides, blocks, expansions, reductions, strict=True
        ):
            self.stages.append(
                Stage(
                    channels,
                    size // channels,
                    stride=stride,
                    blocks=count,
                    block=block,
                    expansion=expansion,
                    group_width=group_width,
                    reduction=reduction,
                )
            )
            channels *= stride
        # The first stage reads the stem alone; the last sum is the pooling's.
        self.sums = nn.LayerList(WeightedSum(2 + i, size) for i in range(len(self.stages)))
        self.pooling = build_pooling(pooling, size, eps=1e-7, global_context=global_context)
        pooled = self.pooling.output_size
        self.pooling_norm = nn.BatchNorm1D(pooled) if pooling_norm else nn.Identity()
        self.embedding = Linear(pooled, embedding_dim)
        self.embedding_norm = nn.BatchNorm1D(embedding_dim) if embedding_norm else nn.Identity()
        self.second_embedding = (
            SecondEmbedding(embedding_dim) if second_embedding else nn.Identity()
        )

    def encode(self, x: paddle.Tensor, lengths: paddle.Tensor | None) -> paddle.Tensor:
        x = as_sequence(self.stem(masked(x, lengths).unsqueeze(1)))
        results = [x]
        for i, stage in enumerate(self.stages):
            results.append(stage(x, lengths))
            x = self.sums[i](results)
        x = self.embedding_norm(self.embedding(self.pooling_norm(self.pooling(x, lengths))))
        return self.second_embedding(x)


def _require_stages(
    strides: Sequence[int],
    blocks: Sequence[int],
    expansions: Sequence[int],
    reductions: Sequence[int],
) -> None:
    for name, counts, least in (
        ("strides", strides, 1),
        ("blocks", blocks, 0),
        ("expansions", expansions, 1),
        ("reductions", reductions, 0),
    ):
        require_stages(name, counts, least)
        if len(counts) != len(strides):
            raise UsageError(
                f"strides are {shown(strides)} and {name} {shown(counts)}; expected one of each "
                "for every stage"
            )


def _require_widths(
    input_size: int,
    channels: int,
    strides: Sequence[int],
    expansions: Sequence[int],
    reductions: Sequence[int],
) -> None:
    size = channels * input_size
    require_whole("channels * input_size", size, 1, MOST_CHANNELS)
    if input_size % math.prod(strides):
        raise UsageError(
            f"ReDimNet was given input_size {input_size} and strides {shown(strides)}: their "
            "product must divide it"
        )
    widest = channels * math.prod(strides) * max(expansions)
    require_whole("the width of the widest stage", widest, 1, MOST_CHANNELS)
    for reduction in filter(None, reductions):
        hidden = size // reduction
        if not hidden or hidden % HEADS:
            raise UsageError(
                f"ReDimNet was given a reduction of {reduction}: the attention would be {hidden} "
                f"wide, and that is no multiple of its {HEADS} heads"
            )
