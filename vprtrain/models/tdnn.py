"""The x-vector network (https://www.danielpovey.com/files/2018_icassp_xvectors.pdf)."""

from __future__ import annotations

from itertools import pairwise

import paddle
from paddle import nn

from vprtrain.models.blocks import TDNNBlock
from vprtrain.models.encoder import SpeakerEncoder
from vprtrain.models.pooling import StatisticsPooling

# (kernel size, dilation) of the five frame layers: 15 frames of context, of which 14 are lost at the edges.
_FRAME_LAYERS = ((5, 1), (3, 2), (3, 3), (1, 1), (1, 1))
_CONTEXT = sum((kernel - 1) * dilation for kernel, dilation in _FRAME_LAYERS)


class TDNN(SpeakerEncoder):
    """x-vector as in 3D-Speaker: five layers over frames, statistics pooling, one linear layer.

    ``channels`` wide, the last frame layer ``pooled_channels``; 4,347,868 trained parameters by default.
    """

    def __init__(
        self,
        *,
        input_size: int = 80,
        embedding_dim: int = 512,
        channels: int = 512,
        pooled_channels: int = 1500,
    ) -> None:
        # Statistics need two frames.
        super().__init__(input_size=input_size, embedding_dim=embedding_dim, min_frames=_CONTEXT + 2)
        widths = [input_size, *[channels] * (len(_FRAME_LAYERS) - 1), pooled_channels]
        self.frames = nn.LayerList(
            TDNNBlock(before, after, kernel_size=kernel, dilation=dilation, reflect=False, affine=False)
            for (before, after), (kernel, dilation) in zip(pairwise(widths), _FRAME_LAYERS, strict=True)
        )
        self.pooling = StatisticsPooling(pooled_channels)
        self.embedding = nn.Linear(self.pooling.output_size, embedding_dim)

    def encode(self, x: paddle.Tensor, lengths: paddle.Tensor | None) -> paddle.Tensor:
        for layer in self.frames:
            x = layer(x)
        return self.embedding(self.pooling(x, None if lengths is None else lengths - _CONTEXT))
