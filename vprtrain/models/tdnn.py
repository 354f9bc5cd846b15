"""The x-vector network (https://www.danielpovey.com/files/2018_icassp_xvectors.pdf)."""

from __future__ import annotations

import paddle
from paddle import nn

from vprtrain.errors import require_flags
from vprtrain.layers.blocks import TDNNBlock
from vprtrain.layers.sizes import require_channels
from vprtrain.models.encoder import SpeakerEncoder
from vprtrain.models.pooling import PoolingName, build_pooling

# (kernel size, dilation) of the five frame layers: 15 frames of context, of which 14 are lost at
# the edges.
_FRAME_LAYERS = ((5, 1), (3, 2), (3, 3), (1, 1), (1, 1))
_CONTEXT = sum((kernel - 1) * dilation for kernel, dilation in _FRAME_LAYERS)


class TDNN(SpeakerEncoder):
    """x-vector as in 3D-Speaker: five layers over frames, statistics pooling, one linear layer.

    ``channels`` wide, the last frame layer ``pooled_channels``; 4,347,868 trained parameters by
    default. ``affine`` gives the batch normalisations scale and shift; ``norm_after_pooling`` moves
    the last one from the fifth frame layer behind the pooling. ppvector's TDNN has
    ``embedding_dim=192, pooled_channels=512, pooling="ASP", affine=True, norm_after_pooling=True``
    (2,770,496 trained parameters).

    Args:
        input_size: the number of values of a feature frame.
        embedding_dim: the number of values of an embedding.
        channels: the width of the frame layers but the last.
        pooled_channels: the width of the last frame layer.
        pooling: the pooling over frames; see :func:`~vprtrain.models.pooling.build_pooling`.
        affine: give the batch normalisations a scale and a shift.
        norm_after_pooling: move the last batch normalisation behind the pooling.
    """

    def __init__(
        self,
        *,
        input_size: int = 80,
        embedding_dim: int = 512,
        channels: int = 512,
        pooled_channels: int = 1500,
        pooling: PoolingName = "TSTP",
        affine: bool = False,
        norm_after_pooling: bool = False,
    ) -> None:
        # Statistics need two frames.
        super().__init__(
            input_size=input_size, embedding_dim=embedding_dim, min_frames=_CONTEXT + 2
        )
        require_channels(channels=channels, pooled_channels=pooled_channels)
        require_flags(affine=affine, norm_after_pooling=norm_after_pooling)
        widths = [input_size, *[channels] * (len(_FRAME_LAYERS) - 1), pooled_channels]
        normed = len(_FRAME_LAYERS) - norm_after_pooling
        self.frames = nn.LayerList(
            TDNNBlock(
                *widths[i : i + 2],
                kernel_size=kernel,
                dilation=dilation,
                reflect=False,
                affine=affine,
                norm=i < normed,
            )
            for i, (kernel, dilation) in enumerate(_FRAME_LAYERS)
        )
        self.pooling = build_pooling(pooling, pooled_channels)
        size = self.pooling.output_size
        self.pooling_norm = (
            nn.BatchNorm1D(size, weight_attr=affine, bias_attr=affine)
            if norm_after_pooling
            else nn.Identity()
        )
        self.embedding = nn.Linear(size, embedding_dim)

    def encode(self, x: paddle.Tensor, lengths: paddle.Tensor | None) -> paddle.Tensor:
        for layer in self.frames:
            x = layer(x)
        return self.embedding(
            self.pooling_norm(self.pooling(x, None if lengths is None else lengths - _CONTEXT))
        )
