"""CAM++ (https://arxiv.org/abs/2303.00332)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import paddle
import paddle.nn.functional as F
from paddle import nn
from paddle.nn.initializer import Constant, KaimingNormal

from vprtrain.errors import UsageError, require_flags, require_whole, shown
from vprtrain.layers.blocks import BasicBlock, conv_norm, frame_mask, masked, relu
from vprtrain.layers.initialisation import Conv1D, Conv2D, Linear, redraw
from vprtrain.layers.sizes import MOST_CHANNELS, require_channels
from vprtrain.models.encoder import SpeakerEncoder, require_stages
from vprtrain.models.pooling import PoolingName, build_pooling

_SEGMENT_FRAMES = 100


class CAMPPlus(SpeakerEncoder):
    """CAM++ as in 3D-Speaker: a 2-D convolutional head, then dense TDNN blocks with context-aware
    masks.

    ``blocks`` and ``dilations`` give the layers and the dilation of each dense block; a layer adds
    ``growth_rate`` channels through a bottleneck of ``bottleneck * growth_rate``. 6,848,544 trained
    parameters by default, 7,176,224 with embeddings of 512.

    ``pooling_eps`` is added under the square root of the pooling: 1e-7 in WeSpeaker's CAM++,
    nothing in 3D-Speaker's (a conversion takes 1e-20). The default keeps the gradient finite. The
    choice shows where channels do not vary: in an untrained network, 1e-7 moves an embedding by
    0.7 %.

    ``bias`` gives every convolution and the last linear layer a bias, ``affine`` the embedding's
    batch normalisation a scale and shift: ppvector's CAM++ has both (6,859,232 trained parameters).

    Args:
        input_size: the number of values of a feature frame.
        embedding_dim: the number of values of an embedding.
        growth_rate: the channels that a layer of a dense block adds.
        bottleneck: the width within such a layer, as a multiple of ``growth_rate``.
        init_channels: the channels before the first dense block.
        head_channels: the channels of the 2-D convolutions.
        blocks: the number of layers of each dense block.
        dilations: the dilation of each dense block.
        pooling: the pooling over frames; see :func:`~vprtrain.models.pooling.build_pooling`.
        pooling_eps: is added under the square root of the pooling.
        bias: give every convolution and the last linear layer a bias.
        affine: give the embedding's batch normalisation a scale and a shift.
    """

    def __init__(
        self,
        *,
        input_size: int = 80,
        embedding_dim: int = 192,
        growth_rate: int = 32,
        bottleneck: int = 4,
        init_channels: int = 128,
        head_channels: int = 32,
        blocks: Sequence[int] = (12, 24, 16),
        dilations: Sequence[int] = (1, 2, 2),
        pooling: PoolingName = "TSTP",
        pooling_eps: float = 1e-12,
        bias: bool = False,
        affine: bool = False,
    ) -> None:
        require_channels(
            growth_rate=growth_rate, init_channels=init_channels, head_channels=head_channels
        )
        require_whole("bottleneck", bottleneck, 1, 64)
        require_flags(bias=bias, affine=affine)
        _require_blocks(blocks, dilations)
        # Statistics need two frames after the time axis was halved.
        super().__init__(input_size=input_size, embedding_dim=embedding_dim, min_frames=3)
        self.head = ConvHead(input_size, head_channels, bias=bias)
        self.tdnn = InputTDNN(self.head.output_size, init_channels, bias=bias)
        self.blocks = nn.LayerList()
        self.transits = nn.LayerList()
        channels, self.hidden = init_channels, bottleneck * growth_rate
        require_whole("bottleneck * growth_rate", self.hidden, 2, MOST_CHANNELS)
        for layers, dilation in zip(blocks, dilations, strict=True):
            self.blocks.append(
                DenseBlock(layers, channels, growth_rate, self.hidden, dilation, bias=bias)
            )
            channels += layers * growth_rate
            self.transits.append(Transit(channels, channels // 2, bias=bias))
            channels //= 2
            require_whole("the width after a block", channels, 1, MOST_CHANNELS)
        self.out_norm = nn.BatchNorm1D(channels)
        self.pooling = build_pooling(pooling, channels, eps=pooling_eps)
        self.dense = Linear(self.pooling.output_size, embedding_dim, bias=bias)
        self.dense_norm = nn.BatchNorm1D(embedding_dim, weight_attr=affine, bias_attr=affine)
        # As in 3D-Speaker and WeSpeaker, where the linear layers are convolutions over time.
        redraw(self, (Conv1D, Linear), weight=KaimingNormal(), bias=Constant(0.0))

    def encode(self, x: paddle.Tensor, lengths: paddle.Tensor | None) -> paddle.Tensor:
        x = self.tdnn(self.head(x, lengths))
        lengths = None if lengths is None else (lengths + 1) // 2
        context = SegmentContext.over(x.shape[-1], lengths, self.hidden)
        for i, block in enumerate(self.blocks):
            x = self.transits[i](block(x, context))
        return self.dense_norm(self.dense(self.pooling(relu(self.out_norm(x)), lengths)))


def _require_blocks(blocks: Sequence[int], dilations: Sequence[int]) -> None:
    require_stages("blocks", blocks, 0)
    require_stages("dilations", dilations, 1)
    if len(blocks) != len(dilations):
        raise UsageError(
            f"blocks are {shown(blocks)} and dilations {shown(dilations)}; expected one dilation "
            "for each block"
        )


@dataclass(frozen=True)
class SegmentContext:
    """The time axis of the context-aware masks, the same in every layer.

    ``real`` ``[batch, channels, frames]`` is 1 on real frames and 0 on padding, ``None`` without
    padding; ``average`` ``[(batch,) frames, segments]`` maps frames to the mean of the whole
    utterance plus the mean of each segment, over real frames; ``hold`` ``[segments, frames]``
    copies each segment's value to its frames.
    """

    real: paddle.Tensor | None
    average: paddle.Tensor
    hold: paddle.Tensor

    @classmethod
    def over(cls, frames: int, lengths: paddle.Tensor | None, channels: int) -> SegmentContext:
        segments = (frames + _SEGMENT_FRAMES - 1) // _SEGMENT_FRAMES
        segment = paddle.arange(frames) // _SEGMENT_FRAMES
        spread, frame = None, paddle.ones([frames, 1])
        member = (segment.unsqueeze(1) == paddle.arange(segments)).astype(frame.dtype)
        hold = member.t()
        if lengths is not None:
            mask = frame_mask(lengths, frames)
            spread, frame = mask.unsqueeze(1).expand([-1, channels, -1]), mask.unsqueeze(-1)
            member = member * frame
        # A segment behind an utterance's end is empty: dividing by 1 keeps its unused value finite.
        whole, own = (part / part.sum(-2, keepdim=True).clip(min=1) for part in (frame, member))
        return cls(spread, whole + own, hold)


class ConvHead(nn.Layer):
    """2-D convolutions that reduce the mels by a factor of eight.

    ``[batch, mels, frames]`` to ``[batch, output_size, frames]``.
    """

    def __init__(self, mels: int, channels: int, *, bias: bool) -> None:
        super().__init__()
        self.conv1 = Conv2D(1, channels, 3, padding=1, bias=bias)
        self.bn1 = nn.BatchNorm2D(channels)
        self.layer1, self.layer2 = (
            nn.LayerList(
                BasicBlock(channels, channels, stride=(stride, 1), bias=bias) for stride in (2, 1)
            )
            for _ in range(2)
        )
        self.conv2 = Conv2D(channels, channels, 3, stride=(2, 1), padding=1, bias=bias)
        self.bn2 = nn.BatchNorm2D(channels)
        self.output_size = channels * -(-mels // 8)

    def forward(self, x: paddle.Tensor, lengths: paddle.Tensor | None) -> paddle.Tensor:
        x = masked(x, lengths).unsqueeze(1)
        x = masked(relu(conv_norm(x, self.conv1, self.bn1)), lengths)
        for stage in (self.layer1, self.layer2):
            for block in stage:
                x = block(x, lengths)
        x = masked(relu(conv_norm(x, self.conv2, self.bn2)), lengths)
        return x.flatten(1, 2)


class InputTDNN(nn.Layer):
    """The layer that halves the time axis: convolution, batch normalisation, ReLU."""

    def __init__(self, in_channels: int, out_channels: int, *, bias: bool) -> None:
        super().__init__()
        self.conv = Conv1D(in_channels, out_channels, 5, stride=2, padding=2, bias=bias)
        self.norm = nn.BatchNorm1D(out_channels)

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        return relu(self.norm(self.conv(x)))


class Transit(nn.Layer):
    """Batch normalisation, ReLU, a convolution of kernel 1 to fewer channels."""

    def __init__(self, in_channels: int, out_channels: int, *, bias: bool) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1D(in_channels)
        self.conv = Conv1D(in_channels, out_channels, 1, bias=bias)

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        return self.conv(relu(self.norm(x)))


class DenseBlock(nn.LayerList):
    """Dense layers, each on the concatenation of the input and all outputs before it."""

    def __init__(
        self,
        layers: int,
        in_channels: int,
        growth_rate: int,
        hidden: int,
        dilation: int,
        *,
        bias: bool,
    ) -> None:
        super().__init__(
            DenseLayer(in_channels + i * growth_rate, growth_rate, hidden, dilation, bias=bias)
            for i in range(layers)
        )

    def forward(self, x: paddle.Tensor, context: SegmentContext) -> paddle.Tensor:
        for layer in self:
            x = paddle.concat([x, layer(x, context)], axis=1)
        return x


class DenseLayer(nn.Layer):
    """Bottleneck, then a convolution under a context-aware mask."""

    def __init__(
        self, in_channels: int, out_channels: int, hidden: int, dilation: int, *, bias: bool
    ) -> None:
        super().__init__()
        self.norm1 = nn.BatchNorm1D(in_channels)
        self.linear1 = Conv1D(in_channels, hidden, 1, bias=bias)
        self.norm2 = nn.BatchNorm1D(hidden)
        self.cam_layer = ContextAwareMask(hidden, out_channels, dilation, bias=bias)

    def forward(self, x: paddle.Tensor, context: SegmentContext) -> paddle.Tensor:
        x = self.linear1(relu(self.norm1(x)))
        return self.cam_layer(relu(self.norm2(x)), context)


class ContextAwareMask(nn.Layer):
    """A convolution whose output is scaled by gates from the utterance's mean plus the segment's
    mean.

    The gates are computed per segment, not per frame: all frames of a segment share them.
    """

    def __init__(self, in_channels: int, out_channels: int, dilation: int, *, bias: bool) -> None:
        super().__init__()
        self.linear_local = Conv1D(
            in_channels, out_channels, 3, padding=dilation, dilation=dilation, bias=bias
        )
        self.linear1 = Linear(in_channels, in_channels // 2)
        self.linear2 = Linear(in_channels // 2, out_channels)

    def forward(self, x: paddle.Tensor, context: SegmentContext) -> paddle.Tensor:
        # [batch, segments, channels], then the gates back on [batch, channels, frames]
        means = paddle.matmul(context.average, x, transpose_x=True, transpose_y=True)
        gates = F.sigmoid(self.linear2(F.relu(self.linear1(means))))
        x = x if context.real is None else x * context.real
        return self.linear_local(x) * paddle.matmul(gates, context.hold, transpose_x=True)
