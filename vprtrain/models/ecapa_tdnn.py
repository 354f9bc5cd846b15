"""ECAPA-TDNN (https://arxiv.org/abs/2005.07143)."""

from __future__ import annotations

from typing import Literal, TypeAlias

import paddle
import paddle.nn.functional as F
from paddle import nn

from vprtrain.errors import UsageError, require_flags, require_whole
from vprtrain.layers.blocks import Padding, TDNNBlock, mean_over_frames
from vprtrain.layers.initialisation import Linear
from vprtrain.layers.sizes import require_channels
from vprtrain.models.encoder import SpeakerEncoder
from vprtrain.models.pooling import PoolingName, build_pooling

_DILATIONS = (2, 3, 4)
_MOST_PARTS = 128

PassedPart: TypeAlias = Literal["first", "last"]


class EcapaNetwork(SpeakerEncoder):
    """The network that every ECAPA-TDNN here is: three SE-Res2 blocks, their aggregation, pooling,
    batch normalisation, one linear layer."""

    def __init__(
        self,
        *,
        input_size: int,
        embedding_dim: int,
        channels: int,
        scale: int,
        se_channels: int,
        pooling: PoolingName,
        pooling_eps: float | None,
        attention_channels: int | None,
        global_context: bool | None,
        padding: Padding,
        passed_part: PassedPart,
        aggregated: int,
        aggregation_norm: bool,
        embedding_norm: bool,
    ) -> None:
        require_channels(channels=channels, se_channels=se_channels)
        if attention_channels is not None:
            require_channels(attention_channels=attention_channels)
        require_whole("scale", scale, 2, _MOST_PARTS)
        if channels % scale:
            raise UsageError(
                f"{type(self).__name__} was given channels {channels} and scale {scale}: channels "
                "must be a multiple of scale"
            )
        # The widest reflection, as wide as the largest dilation, needs one frame more; statistics
        # need two.
        super().__init__(
            input_size=input_size,
            embedding_dim=embedding_dim,
            min_frames=max(_DILATIONS) + 1 if padding == "reflect" else 2,
        )
        self.blocks = nn.LayerList(
            [TDNNBlock(input_size, channels, kernel_size=5, padding=padding)]
        )
        for dilation in _DILATIONS:
            convolution = Res2Conv(
                channels, dilation=dilation, scale=scale, padding=padding, passed_part=passed_part
            )
            self.blocks.append(SERes2Block(channels, convolution, se_channels=se_channels))
        self.mfa = TDNNBlock(len(_DILATIONS) * channels, aggregated, norm=aggregation_norm)
        # Named as in the reference, whichever pooling it is.
        self.asp = build_pooling(
            pooling,
            aggregated,
            eps=pooling_eps,
            attention_channels=attention_channels,
            global_context=global_context,
        )
        self.asp_bn = nn.BatchNorm1D(self.asp.output_size)
        self.fc = Linear(self.asp.output_size, embedding_dim)
        self.embedding_norm = nn.BatchNorm1D(embedding_dim) if embedding_norm else nn.Identity()

    def encode(self, x: paddle.Tensor, lengths: paddle.Tensor | None) -> paddle.Tensor:
        outputs = []
        for block in self.blocks:
            x = block(x, lengths)
            outputs.append(x)
        x = self.mfa(paddle.concat(outputs[1:], axis=1))
        return self.embedding_norm(self.fc(self.asp_bn(self.asp(x, lengths))))


class EcapaTdnn(EcapaNetwork):
    """ECAPA-TDNN as in SpeechBrain: three SE-Res2 blocks, their aggregation, attentive statistics
    pooling.

    ``channels`` (a multiple of ``scale``) is the width of the blocks, 512 and 1024 in the paper;
    the aggregation is three times as wide. 6,194,048 trained parameters by default, 20,767,552 with
    1024. Convolutions see the utterance reflected at its ends.

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
        require_channels(channels=channels, attention_channels=attention_channels)
        super().__init__(
            input_size=input_size,
            embedding_dim=embedding_dim,
            channels=channels,
            scale=scale,
            se_channels=se_channels,
            pooling=pooling,
            pooling_eps=None,
            attention_channels=attention_channels,
            global_context=None,
            padding="reflect",
            passed_part="first",
            aggregated=len(_DILATIONS) * channels,
            aggregation_norm=True,
            embedding_norm=False,
        )


class WeSpeakerEcapaTdnn(EcapaNetwork):
    """ECAPA-TDNN as in WeSpeaker, which is another network than SpeechBrain's.

    Convolutions see zeros beyond the ends of the utterance; the Res2 convolutions pass the last of
    their parts unchanged, not the first; the aggregation is ``aggregated_channels`` wide whatever
    the blocks are, and has no batch normalisation; nor has the attention. 6,190,720 trained
    parameters by default, which are WeSpeaker's ECAPA_TDNN_GLOB_c512, and 14,657,088 with 1024
    channels. Its ECAPA_TDNN_c512 has ``global_context=False`` (5,797,504), its xi-vector
    ``pooling="XI"`` (5,896,448).

    Args:
        input_size: the number of values of a feature frame.
        embedding_dim: the number of values of an embedding.
        channels: the width of the blocks, a multiple of ``scale``.
        scale: the number of parts of a Res2 convolution.
        se_channels: the width within squeeze-and-excitation.
        aggregated_channels: the width of the aggregation.
        pooling: the pooling over frames; see :func:`~vprtrain.models.pooling.build_pooling`.
        attention_channels: the width within the attention of the pooling; null for its default.
        global_context: let the attention of ASTP see the mean and deviation of the utterance.
        embedding_norm: add a batch normalisation after the last layer (WeSpeaker's ``emb_bn``).
    """

    def __init__(
        self,
        *,
        input_size: int = 80,
        embedding_dim: int = 192,
        channels: int = 512,
        scale: int = 8,
        se_channels: int = 128,
        aggregated_channels: int = 1536,
        pooling: PoolingName = "ASTP",
        attention_channels: int | None = None,
        global_context: bool = True,
        embedding_norm: bool = False,
    ) -> None:
        require_channels(aggregated_channels=aggregated_channels)
        require_flags(global_context=global_context, embedding_norm=embedding_norm)
        super().__init__(
            input_size=input_size,
            embedding_dim=embedding_dim,
            channels=channels,
            scale=scale,
            se_channels=se_channels,
            pooling=pooling,
            pooling_eps=1e-7,
            attention_channels=attention_channels,
            global_context=global_context,
            padding="zero",
            passed_part="last",
            aggregated=aggregated_channels,
            aggregation_norm=False,
            embedding_norm=embedding_norm,
        )


class SERes2Block(nn.Layer):
    """TDNN, Res2 convolutions, TDNN, squeeze-and-excitation, and the input added."""

    def __init__(self, channels: int, convolution: Res2Conv, *, se_channels: int) -> None:
        super().__init__()
        self.tdnn1 = TDNNBlock(channels, channels)
        self.res2net_block = convolution
        self.tdnn2 = TDNNBlock(channels, channels)
        self.se_block = SqueezeExcitation(channels, se_channels)

    def forward(self, x: paddle.Tensor, lengths: paddle.Tensor | None) -> paddle.Tensor:
        y = self.tdnn2(self.res2net_block(self.tdnn1(x), lengths))
        return self.se_block(y, lengths) + x


class Res2Conv(nn.Layer):
    """The channels in ``scale`` parts: one is passed unchanged; of the others the first is
    convolved, and each further one is convolved after the previous result was added."""

    def __init__(
        self, channels: int, *, dilation: int, scale: int, padding: Padding, passed_part: PassedPart
    ) -> None:
        super().__init__()
        self.scale = scale
        width = channels // scale
        self.blocks = nn.LayerList(
            TDNNBlock(width, width, kernel_size=3, dilation=dilation, padding=padding)
            for _ in range(scale - 1)
        )
        self._passes_first = passed_part == "first"

    def forward(self, x: paddle.Tensor, lengths: paddle.Tensor | None) -> paddle.Tensor:
        parts = x.split(self.scale, axis=1)
        passed = parts.pop(0 if self._passes_first else -1)
        outputs = [self.blocks[0](parts[0], lengths)]
        for i in range(1, self.scale - 1):
            outputs.append(self.blocks[i](parts[i] + outputs[-1], lengths))
        return paddle.concat(
            [passed, *outputs] if self._passes_first else [*outputs, passed], axis=1
        )


class SqueezeExcitation(nn.Layer):
    """Channels scaled by gates computed from their mean over real frames."""

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.conv1 = Linear(channels, hidden)
        self.conv2 = Linear(hidden, channels)

    def forward(self, x: paddle.Tensor, lengths: paddle.Tensor | None) -> paddle.Tensor:
        gate = F.sigmoid(self.conv2(F.relu(self.conv1(mean_over_frames(x, lengths)))))
        return x * gate.unsqueeze(-1)
