"""ECAPA-TDNN (https://arxiv.org/abs/2005.07143)."""

from __future__ import annotations

import paddle
import paddle.nn.functional as F
from paddle import nn

from vprtrain.errors import UsageError, require_whole
from vprtrain.layers.blocks import TDNNBlock, mean_over_frames
from vprtrain.layers.sizes import require_channels
from vprtrain.models.encoder import SpeakerEncoder
from vprtrain.models.pooling import PoolingName, build_pooling

_DILATIONS = (2, 3, 4)
_MOST_PARTS = 128


class EcapaTdnn(SpeakerEncoder):
    """ECAPA-TDNN as in SpeechBrain: three SE-Res2 blocks, their aggregation, attentive statistics
    pooling.

    ``channels`` (a multiple of ``scale``) is the width of the blocks, 512 and 1024 in the paper;
    the aggregation is three times as wide. 6,194,048 trained parameters by default, 20,767,552 with
    1024.

    Args:
        input_size: the number of values of a feature frame.
        embedding_dim: the number of values of an embedding.
        channels: the width of the blocks, a multiple of ``scale``.
        scale: the number of parts of a Res2 convolution.
        se_channels: the width within squeeze-and-excitation.
        pooling: the pooling over frames; see :func:`~vprtrain.models.pooling.build_pooling`.
        attention_channels: the width within the attention of the pooling.
    """

    def __init__(
        self,
        *,
        input_size: int = 80,
        embedding_dim: int = 192,
        channels: int = 512,
        scale: int = 8,
        se_channels: int = 128,
        pooling: PoolingName = "ASP",
        attention_channels: int = 128,
    ) -> None:
        require_channels(
            channels=channels, se_channels=se_channels, attention_channels=attention_channels
        )
        require_whole("scale", scale, 2, _MOST_PARTS)
        if channels % scale:
            raise UsageError(
                f"EcapaTdnn was given channels {channels} and scale {scale}: channels must be a "
                "multiple of scale"
            )
        # The widest reflection, as wide as the largest dilation, needs one frame more.
        super().__init__(
            input_size=input_size, embedding_dim=embedding_dim, min_frames=max(_DILATIONS) + 1
        )
        self.blocks = nn.LayerList([TDNNBlock(input_size, channels, kernel_size=5)])
        for dilation in _DILATIONS:
            self.blocks.append(
                SERes2Block(channels, dilation=dilation, scale=scale, se_channels=se_channels)
            )
        aggregated = len(_DILATIONS) * channels
        self.mfa = TDNNBlock(aggregated, aggregated)
        # Named as in the reference, whichever pooling it is.
        self.asp = build_pooling(pooling, aggregated, attention_channels=attention_channels)
        self.asp_bn = nn.BatchNorm1D(self.asp.output_size)
        self.fc = nn.Linear(self.asp.output_size, embedding_dim)

    def encode(self, x: paddle.Tensor, lengths: paddle.Tensor | None) -> paddle.Tensor:
        outputs = []
        for block in self.blocks:
            x = block(x, lengths)
            outputs.append(x)
        x = self.mfa(paddle.concat(outputs[1:], axis=1))
        return self.fc(self.asp_bn(self.asp(x, lengths)))


class SERes2Block(nn.Layer):
    """TDNN, Res2 convolutions, TDNN, squeeze-and-excitation, and the input added."""

    def __init__(self, channels: int, *, dilation: int, scale: int, se_channels: int) -> None:
        super().__init__()
        self.tdnn1 = TDNNBlock(channels, channels)
        self.res2net_block = Res2Conv(channels, dilation=dilation, scale=scale)
        self.tdnn2 = TDNNBlock(channels, channels)
        self.se_block = SqueezeExcitation(channels, se_channels)

    def forward(self, x: paddle.Tensor, lengths: paddle.Tensor | None) -> paddle.Tensor:
        y = self.tdnn2(self.res2net_block(self.tdnn1(x), lengths))
        return self.se_block(y, lengths) + x


class Res2Conv(nn.Layer):
    """The channels in ``scale`` parts: the first is unchanged, the second is convolved, each
    further part is convolved after the previous result was added."""

    def __init__(self, channels: int, *, dilation: int, scale: int) -> None:
        super().__init__()
        self.scale = scale
        width = channels // scale
        self.blocks = nn.LayerList(
            TDNNBlock(width, width, kernel_size=3, dilation=dilation) for _ in range(scale - 1)
        )

    def forward(self, x: paddle.Tensor, lengths: paddle.Tensor | None) -> paddle.Tensor:
        parts = x.split(self.scale, axis=1)
        outputs = [parts[0], self.blocks[0](parts[1], lengths)]
        for i in range(2, self.scale):
            outputs.append(self.blocks[i - 1](parts[i] + outputs[-1], lengths))
        return paddle.concat(outputs, axis=1)


class SqueezeExcitation(nn.Layer):
    """Channels scaled by gates computed from their mean over real frames."""

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.conv1 = nn.Linear(channels, hidden)
        self.conv2 = nn.Linear(hidden, channels)

    def forward(self, x: paddle.Tensor, lengths: paddle.Tensor | None) -> paddle.Tensor:
        gate = F.sigmoid(self.conv2(F.relu(self.conv1(mean_over_frames(x, lengths)))))
        return x * gate.unsqueeze(-1)
