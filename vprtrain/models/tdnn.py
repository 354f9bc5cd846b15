"""The x-vector network (https://www.danielpovey.com/files/2018_icassp_xvectors.pdf)."""

from __future__ import annotations

from typing import get_args

import paddle
from paddle import nn

from vprtrain.errors import require_choice, require_flags, require_number
from vprtrain.layers.blocks import Padding, TDNNBlock
from vprtrain.layers.initialisation import Linear
from vprtrain.layers.sizes import require_channels
from vprtrain.models.encoder import SpeakerEncoder
from vprtrain.models.pooling import PoolingName, build_pooling
from vprtrain.models.residual import SecondEmbedding

# (kernel size, dilation) of the five frame layers: 15 frames of context, of which 14 are lost at
# the edges.
_FRAME_LAYERS = ((5, 1), (3, 2), (3, 3), (1, 1), (1, 1))
_CONTEXT = sum((kernel - 1) * dilation for kernel, dilation in _FRAME_LAYERS)
_WIDEST = max((kernel - 1) * dilation // 2 for kernel, dilation in _FRAME_LAYERS)


class TDNN(SpeakerEncoder):
    """x-vector: five layers over frames, statistics pooling, one linear layer.

    By default it is 3D-Speaker's, of 4,347,868 trained parameters. The others' differ:

    - WeSpeaker's XVEC: ``second_embedding=True, pooling_eps=1e-7`` (4,610,524). Its xi-vector
      (https://ieeexplore.ieee.org/document/9463712) has ``pooling="XI"`` (4,615,792).
    - SpeechBrain's Xvector: ``padding="reflect", negative_slope=0.01, affine=True,
      pooling_eps=1e-10`` and by default ``input_size=24`` (4,211,604). SpeechBrain adds noise of
      1e-5 to 9e-5 to the mean, in evaluation too, and 1e-5 to the deviation; TDNN does not.
    - ppvector's TDNN: ``embedding_dim=192, pooled_channels=512, pooling="ASP", affine=True,
      norm_after_pooling=True`` (2,770,496).

    Args:
        input_size: the number of values of a feature frame.
        embedding_dim: the number of values of an embedding.
        channels: the width of the frame layers but the last.
        pooled_channels: the width of the last frame layer.
        pooling: the pooling over frames; see :func:`~vprtrain.models.pooling.build_pooling`.
        pooling_eps: the pooling's own, where it has one; null for its default.
        padding: what stands beyond the ends of an utterance; "none" makes it 14 frames shorter.
        negative_slope: of the leaky ReLU; 0 for ReLU.
        affine: give the batch normalisations a scale and a shift.
        norm_after_pooling: move the last batch normalisation from the fifth frame layer behind the
            pooling.
        second_embedding: add ReLU, batch normalisation and one more linear layer.
    """

    def __init__(
        self,
        *,
        input_size: int = 80,
        embedding_dim: int = 512,
        channels: int = 512,
        pooled_channels: int = 1500,
        pooling: PoolingName = "TSTP",
        pooling_eps: float | None = None,
        padding: Padding = "none",
        negative_slope: float = 0.0,
        affine: bool = False,
        norm_after_pooling: bool = False,
        second_embedding: bool = False,
    ) -> None:
        require_choice("padding", padding, get_args(Padding))
        require_number("negative_slope", negative_slope, least=0, most=1)
        require_channels(channels=channels, pooled_channels=pooled_channels)
        require_flags(
            affine=affine, norm_after_pooling=norm_after_pooling, second_embedding=second_embedding
        )
        lost = _CONTEXT if padding == "none" else 0
        # Statistics need two frames, and a reflection one frame more than it is wide.
        super().__init__(
            input_size=input_size,
            embedding_dim=embedding_dim,
            min_frames=max(lost + 2, _WIDEST + 1 if padding == "reflect" else 0),
        )
        widths = [input_size, *[channels] * (len(_FRAME_LAYERS) - 1), pooled_channels]
        normed = len(_FRAME_LAYERS) - norm_after_pooling
        self.frames = nn.LayerList(
            TDNNBlock(
                *widths[i : i + 2],
                kernel_size=kernel,
                dilation=dilation,
                padding=padding,
                negative_slope=negative_slope,
                affine=affine,
                norm=i < normed,
            )
            for i, (kernel, dilation) in enumerate(_FRAME_LAYERS)
        )
        self.pooling = build_pooling(pooling, pooled_channels, eps=pooling_eps)
        size = self.pooling.output_size
        self.pooling_norm = (
            nn.BatchNorm1D(size, weight_attr=affine, bias_attr=affine)
            if norm_after_pooling
            else nn.Identity()
        )
        self.embedding = Linear(size, embedding_dim)
        self.second_embedding = (
            SecondEmbedding(embedding_dim, affine=affine) if second_embedding else nn.Identity()
        )
        self._lost = lost

    def encode(self, x: paddle.Tensor, lengths: paddle.Tensor | None) -> paddle.Tensor:
        for layer in self.frames:
            x = layer(x, lengths)
        pooled = self.pooling(x, lengths if lengths is None else lengths - self._lost)
        return self.second_embedding(self.embedding(self.pooling_norm(pooled)))
