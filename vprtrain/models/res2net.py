"""Res2Net (https://arxiv.org/abs/1904.01169): as in 3D-Speaker, and ppvector's variant."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import paddle
import paddle.nn.functional as F
from paddle import nn
from paddle.nn.initializer import KaimingNormal

from vprtrain.errors import UsageError, require_whole
from vprtrain.layers.blocks import (
    Shortcut,
    Stem,
    clipped_relu,
    conv_norm,
    frame_mask,
    masked,
    relu,
    strided_lengths,
)
from vprtrain.layers.initialisation import Conv2D, Linear, draw_as_paddle
from vprtrain.layers.sizes import MOST_CHANNELS, require_channels
from vprtrain.models.encoder import SpeakerEncoder, require_stages
from vprtrain.models.pooling import PoolingName, build_pooling
from vprtrain.models.residual import ResidualEncoder, ResidualStages, stage_widths

_MOST_PARTS = 16
_LEAST_MELS = 5
"""The stem of :class:`PPVectorRes2Net` makes one mel of these."""

Length = TypeVar("Length", int, paddle.Tensor)


class Res2Net(ResidualEncoder):
    """Res2Net as in 3D-Speaker and WeSpeaker: Res2 blocks, statistics pooling over frames, one
    linear layer.

    The stages are ``2 * channels`` wide and twice as wide each; ``blocks`` counts each stage's.
    4,033,600 trained parameters by default. WeSpeaker's Res2Net34_Base has ``embedding_dim=256,
    pooling_eps=1e-7`` (4,689,024), its Res2Net34_Large 64 channels too.

    Args:
        input_size: the number of values of a feature frame.
        embedding_dim: the number of values of an embedding.
        channels: the first stage is twice as wide.
        blocks: the number of blocks of each stage.
        base_width: the channels of a part, for a block with an inner width of 64.
        scale: the number of parts of a block.
        pooling: the pooling over frames; see :func:`~vprtrain.models.pooling.build_pooling`.
        pooling_eps: the pooling's ``eps``; ``None`` is its default.
        second_embedding: add ReLU, batch normalisation and one more linear layer.
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
        pooling: PoolingName = "TSTP",
        pooling_eps: float | None = None,
        second_embedding: bool = False,
    ) -> None:
        require_channels(channels=channels)
        widths = stage_widths(2 * channels, blocks)
        block = partial(Res2Block, parts=Res2Parts(base_width=base_width, scale=scale))
        super().__init__(
            input_size=input_size,
            embedding_dim=embedding_dim,
            stem=Stem(channels),
            stages=ResidualStages(block, channels, widths, blocks),
            pooling=pooling,
            pooling_eps=pooling_eps,
            second_embedding=second_embedding,
        )


@dataclass(frozen=True, kw_only=True)
class Res2Parts:
    """How a Res2 block splits its channels.

    Args:
        base_width: the channels of a part, for a block with an inner width of 64.
        scale: the number of parts.
        expansion: the ratio of the block's output to its inner width.

    Raises:
        UsageError: a value is out of its range.
    """

    base_width: int
    scale: int
    expansion: int = 2

    def __post_init__(self) -> None:
        require_channels(base_width=self.base_width)
        require_whole("scale", self.scale, 1, _MOST_PARTS)
        require_whole("expansion", self.expansion, 1, 64)

    def channels(self, out_channels: int, *, least: int = 1) -> int:
        """The channels of one part in a block with this output.

        Raises:
            UsageError: they are fewer than ``least``, or too many.
        """
        channels = out_channels // self.expansion * self.base_width // 64
        if not least <= channels <= MOST_CHANNELS:
            raise UsageError(
                f"base_width {self.base_width} makes parts of {channels} channels in a stage "
                f"{out_channels} channels wide with expansion {self.expansion}, at least {least} "
                f"and at most {MOST_CHANNELS} are needed: change channels or base_width"
            )
        return channels


class Res2Block(nn.Layer):
    """Res2Net's residual block as in 3D-Speaker, on ``[batch, channels, mels, frames]``.

    A convolution of kernel 1 with the ``stride`` of both axes. Its output is split into parts; to
    each part the result of the part before is added (:meth:`combine`), and the sum is convolved
    3 x 3. The last part is left as it is, unless ``convolve_all``. A convolution of kernel 1 over
    all parts; the shortcut is added. Input and output are zero on padding; ``lengths`` are those
    of the input.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        stride: tuple[int, int] = (1, 1),
        parts: Res2Parts,
        convolve_all: bool = False,
        bias: bool = False,
    ) -> None:
        super().__init__()
        width, scale = parts.channels(out_channels), parts.scale
        convs = scale if convolve_all else scale - 1
        self.conv1 = Conv2D(in_channels, width * scale, 1, stride=stride, bias=bias)
        self.bn1 = nn.BatchNorm2D(width * scale)
        self.convs = nn.LayerList(
            Conv2D(width, width, 3, padding=1, bias=bias) for _ in range(convs)
        )
        self.bns = nn.LayerList(nn.BatchNorm2D(width) for _ in range(convs))
        self.conv3 = Conv2D(width * scale, out_channels, 1, bias=bias)
        self.bn3 = nn.BatchNorm2D(out_channels)
        self.shortcut = Shortcut(in_channels, out_channels, stride=stride, bias=bias)
        self._frame_stride = stride[1]
        self._scale = scale

    def forward(self, x: paddle.Tensor, lengths: paddle.Tensor | None) -> paddle.Tensor:
        lengths = strided_lengths(lengths, self._frame_stride)
        parts = masked(clipped_relu(conv_norm(x, self.conv1, self.bn1)), lengths).split(
            self._scale, axis=1
        )
        outputs: list[paddle.Tensor] = []
        for i, conv in enumerate(self.convs):
            y = self.combine(i, masked(outputs[-1], lengths), parts[i]) if i else parts[i]
            outputs.append(clipped_relu(conv_norm(y, conv, self.bns[i])))
        y = paddle.concat([*outputs, *parts[len(outputs) :]], axis=1)
        return masked(clipped_relu(conv_norm(y, self.conv3, self.bn3) + self.shortcut(x)), lengths)

    def combine(self, index: int, previous: paddle.Tensor, part: paddle.Tensor) -> paddle.Tensor:
        """The input of the convolution for part ``index`` (from 1); zero on padding if both are."""
        return previous + part


class PPVectorRes2Net(SpeakerEncoder):
    """Res2Net as in ppvector 1.0.2: a stem that divides mels and frames by six, Res2 bottlenecks
    with biases.

    The stages are ``4 * channels`` wide and twice as wide each. Statistics are normalised before
    the last layer. 5,623,792 trained parameters by default. It reduces 48 frames to one, so prefer
    :class:`Res2Net` for new models.

    Args:
        input_size: the number of values of a feature frame.
        embedding_dim: the number of values of an embedding.
        channels: the first stage is four times as wide.
        blocks: the number of blocks of each stage.
        base_width: the channels of a part, for a block with an inner width of 64.
        scale: the number of parts of a block.
        pooling: the pooling over frames; see :func:`~vprtrain.models.pooling.build_pooling`.
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
        pooling: PoolingName = "ASP",
    ) -> None:
        # The stem makes one frame of 5, one more of each further 6. A variance divided by frames -
        # 1 needs two frames.
        require_stages("blocks", blocks, 1)
        min_frames = 5 + 6 * (1 << len(blocks) - 1) if pooling in ("TSDP", "TSTP", "TSVP") else 5
        super().__init__(input_size=input_size, embedding_dim=embedding_dim, min_frames=min_frames)
        require_whole("input_size", input_size, _LEAST_MELS, MOST_CHANNELS)
        require_channels(channels=channels)
        self.stem = PoolingStem(channels)
        widths = stage_widths(4 * channels, blocks)
        parts = Res2Parts(base_width=base_width, scale=scale, expansion=4)
        block = partial(Res2Bottleneck, parts=parts)
        self.stages = ResidualStages(block, channels, widths, blocks)
        self.pooling = build_pooling(
            pooling, self.stages.output_size(PoolingStem.output_length(input_size))
        )
        self.pooling_norm = nn.BatchNorm1D(self.pooling.output_size)
        self.embedding = Linear(self.pooling.output_size, embedding_dim)
        # ppvector is built on Paddle, and its last layer is a convolution over time.
        draw_as_paddle(self)
        KaimingNormal()(self.embedding.weight)

    def encode(self, x: paddle.Tensor, lengths: paddle.Tensor | None) -> paddle.Tensor:
        x, lengths = self.stages(*self.stem(x, lengths))
        return self.embedding(self.pooling_norm(self.pooling(x.flatten(1, 2), lengths)))


class PoolingStem(nn.Layer):
    """Convolution 7 x 7 with stride 3, batch normalisation, ReLU, maxima of 3 x 3 with stride 2.

    ``[batch, mels, frames]`` to ``[batch, channels, output_length(mels), output_length(frames)]``
    and its lengths; padding is ignored, and zero in the result.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = Conv2D(1, channels, 7, stride=3, padding=1)
        self.bn1 = nn.BatchNorm2D(channels)

    def forward(
        self, x: paddle.Tensor, lengths: paddle.Tensor | None
    ) -> tuple[paddle.Tensor, paddle.Tensor | None]:
        x = relu(conv_norm(masked(x, lengths).unsqueeze(1), self.conv1, self.bn1))
        if lengths is not None:
            x = masked(x, self._convolved(lengths))
            lengths = self.output_length(lengths)
        # After the ReLU no value is negative, so zeros on padding change no maximum.
        return masked(F.max_pool2d(x, 3, stride=2, padding=1), lengths), lengths

    @classmethod
    def output_length(cls, length: Length) -> Length:
        """The number of output frames (or mels) for this number of input frames (or mels)."""
        return (cls._convolved(length) + 1) // 2

    @staticmethod
    def _convolved(length: Length) -> Length:
        return (length - 2) // 3


class Res2Bottleneck(nn.Layer):
    """Res2Net's bottleneck as ppvector has it, with biases and plain ReLU; otherwise as
    :class:`Res2Block`.

    The stride is in the 3 x 3 convolutions. A block that changes the shape does not add the
    previous result to a part, and averages the last part over 3 x 3.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        stride: tuple[int, int],
        parts: Res2Parts,
    ) -> None:
        super().__init__()
        width, scale = parts.channels(out_channels), parts.scale
        self.conv1 = Conv2D(in_channels, width * scale, 1)
        self.bn1 = nn.BatchNorm2D(width * scale)
        self.convs = nn.LayerList(
            Conv2D(width, width, 3, stride=stride, padding=1) for _ in range(scale - 1)
        )
        self.bns = nn.LayerList(nn.BatchNorm2D(width) for _ in range(scale - 1))
        self.conv3 = Conv2D(width * scale, out_channels, 1)
        self.bn3 = nn.BatchNorm2D(out_channels)
        self.shortcut = Shortcut(in_channels, out_channels, stride=stride, bias=True)
        self._stride = stride
        self._scale = scale
        self._first = in_channels != out_channels

    def forward(self, x: paddle.Tensor, lengths: paddle.Tensor | None) -> paddle.Tensor:
        *parts, last = masked(relu(conv_norm(x, self.conv1, self.bn1)), lengths).split(
            self._scale, axis=1
        )
        if self._first:
            last = average_3x3(last, lengths, stride=self._stride)
        lengths = strided_lengths(lengths, self._stride[1])
        outputs: list[paddle.Tensor] = []
        for i, conv in enumerate(self.convs):
            y = parts[i] + masked(outputs[-1], lengths) if i and not self._first else parts[i]
            outputs.append(relu(conv_norm(y, conv, self.bns[i])))
        y = conv_norm(paddle.concat([*outputs, last], axis=1), self.conv3, self.bn3)
        return masked(relu(y + self.shortcut(x)), lengths)


def average_3x3(
    x: paddle.Tensor, lengths: paddle.Tensor | None, *, stride: tuple[int, int]
) -> paddle.Tensor:
    """Means over 3 x 3 existing mels and real frames; ``x`` is zero on padding."""
    mean = F.avg_pool2d(x, 3, stride=stride, padding=1)  # leaves out what lies beyond the edges
    if lengths is None:
        return mean
    real = frame_mask(lengths, x.shape[-1]).unsqueeze([1, 2])
    share = F.avg_pool2d(real, (1, 3), stride=(1, stride[1]), padding=(0, 1))
    return mean / share.clip(min=1 / 3).expand(mean.shape)
