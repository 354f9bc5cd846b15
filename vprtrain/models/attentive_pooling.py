"""Poolings that weight the frames by learned attention.

As in :mod:`vprtrain.models.pooling`: ``[batch, channels, frames]`` and optional ``lengths`` to
``[batch, output_size]`` float32. Padding gets no attention.
"""

from __future__ import annotations

import math

import paddle
import paddle.nn.functional as F
from paddle import nn

from vprtrain.errors import UsageError, require_flags, require_number, require_whole
from vprtrain.layers.blocks import TDNNBlock, frame_mask, mean_over_frames
from vprtrain.layers.convolution import conv1d
from vprtrain.layers.initialisation import Conv1D
from vprtrain.layers.precision import as_float32
from vprtrain.layers.sizes import MOST_CHANNELS, require_channels

MOST_POOLED = 2**22
"""The most channels of a pooling, which may be channels times mels of a two-dimensional network."""
_MOST_QUERIES = 64


class SelfAttentivePooling(nn.Layer):
    """Weighted mean (SAP), each channel with its own attention over real frames.

    ``softmax(linear2(tanh(linear1(x))))`` over frames, as in ppvector and WeSpeaker's ASTP without
    its deviation; https://arxiv.org/abs/1803.10963 has one score for all channels of a frame
    instead.
    """

    def __init__(self, channels: int, *, attention_channels: int = 128) -> None:
        require_whole("channels", channels, 1, MOST_POOLED)
        require_channels(attention_channels=attention_channels)
        super().__init__()
        self.output_size = channels
        self.linear1 = Conv1D(channels, attention_channels, 1)
        self.linear2 = Conv1D(attention_channels, channels, 1)

    def forward(self, x: paddle.Tensor, lengths: paddle.Tensor | None = None) -> paddle.Tensor:
        x = as_float32(x)
        return (_attention(self.linear2(paddle.tanh(self.linear1(x))), lengths) * x).sum(-1)


class SelfAttentiveStatisticsPooling(nn.Layer):
    """Weighted mean and standard deviation (ASTP), each channel with its own attention over real
    frames.

    The attention is that of :class:`SelfAttentivePooling`. With ``global_context`` it sees each
    frame together with the unweighted mean and standard deviation of the utterance, its variance
    divided by frames - 1 (WeSpeaker's ECAPA_TDNN_GLOB). Layers, sizes and formulas as in
    WeSpeaker's and 3D-Speaker's ASTP. ``eps`` is added to the unweighted variance, and is the
    lower limit of the weighted one: 1e-7 in WeSpeaker, 1e-10 in 3D-Speaker.
    """

    def __init__(
        self,
        channels: int,
        *,
        attention_channels: int = 128,
        eps: float = 1e-7,
        global_context: bool = False,
    ) -> None:
        require_whole("channels", channels, 1, MOST_POOLED)
        require_channels(attention_channels=attention_channels)
        require_number("eps", eps, least=0)
        require_flags(global_context=global_context)
        super().__init__()
        self.output_size = 2 * channels
        self.eps = eps
        self.global_context = global_context
        self.linear1 = Conv1D(channels * (3 if global_context else 1), attention_channels, 1)
        self.linear2 = Conv1D(attention_channels, channels, 1)

    def forward(self, x: paddle.Tensor, lengths: paddle.Tensor | None = None) -> paddle.Tensor:
        x = as_float32(x)
        mean, centred, squared = _moments(x, lengths)
        if self.global_context:
            variance = unbiased(mean_over_frames(squared, lengths), x.shape[-1], lengths)
            statistics = paddle.concat([mean, paddle.sqrt(variance + self.eps)], axis=1)
            hidden = _convolved_with_statistics(x, statistics, self.linear1)
        else:
            hidden = self.linear1(x)
        attention = _attention(self.linear2(paddle.tanh(hidden)), lengths)
        shift, deviation = _weighted(attention, centred, squared, self.eps)
        return paddle.concat([mean + shift, deviation], axis=1)


class AttentiveStatisticsPooling(nn.Layer):
    """Weighted mean and standard deviation (ASP), each channel with its own attention over real
    frames.

    The attention sees each frame together with the unweighted mean and standard deviation of the
    utterance (global context), as in ECAPA-TDNN (https://arxiv.org/abs/2005.07143) and SpeechBrain.
    Variances are divided by the number of frames and kept above ``eps`` under the root.
    """

    def __init__(self, channels: int, *, attention_channels: int = 128, eps: float = 1e-12) -> None:
        require_whole("channels", channels, 1, MOST_POOLED)
        require_channels(attention_channels=attention_channels)
        require_number("eps", eps, least=0)
        super().__init__()
        self.output_size = 2 * channels
        self.eps = eps
        self.tdnn = TDNNBlock(3 * channels, attention_channels)
        self.conv = Conv1D(attention_channels, channels, 1)

    def forward(self, x: paddle.Tensor, lengths: paddle.Tensor | None = None) -> paddle.Tensor:
        x = as_float32(x)
        mean, centred, squared = _moments(x, lengths)
        deviation = paddle.sqrt(mean_over_frames(squared, lengths).clip(min=self.eps))
        statistics = paddle.concat([mean, deviation], axis=1)
        hidden = F.relu(_convolved_with_statistics(x, statistics, self.tdnn.conv))
        attention = _attention(self.conv(paddle.tanh(self.tdnn.norm(hidden))), lengths)
        shift, deviation = _weighted(attention, centred, squared, self.eps)
        return paddle.concat([mean + shift, deviation], axis=1)


class LocalAttentiveStatisticsPooling(nn.Layer):
    """Weighted mean and standard deviation (LASP), each channel with its own attention over real
    frames.

    The attention sees each frame alone: convolution, ReLU, batch normalisation, convolution, and
    the softmax over frames, without :class:`AttentiveStatisticsPooling`'s global context and
    ``tanh``. As ASP in WeSpeaker's SimAM-ResNets and in clovaai's voxceleb_trainer. Variances are
    kept above ``eps`` under the root.
    """

    def __init__(self, channels: int, *, attention_channels: int = 128, eps: float = 1e-5) -> None:
        require_whole("channels", channels, 1, MOST_POOLED)
        require_channels(attention_channels=attention_channels)
        require_number("eps", eps, least=0)
        super().__init__()
        self.output_size = 2 * channels
        self.eps = eps
        self.tdnn = TDNNBlock(channels, attention_channels)
        self.conv = Conv1D(attention_channels, channels, 1)

    def forward(self, x: paddle.Tensor, lengths: paddle.Tensor | None = None) -> paddle.Tensor:
        x = as_float32(x)
        mean, centred, squared = _moments(x, lengths)
        attention = _attention(self.conv(self.tdnn(x)), lengths)
        shift, deviation = _weighted(attention, centred, squared, self.eps)
        return paddle.concat([mean + shift, deviation], axis=1)


class MultiQueryMultiHeadPooling(nn.Layer):
    """Weighted means and standard deviations of several attentions over real frames (MQMHA).

    The channels are split in ``heads`` (``None``: 8, or as many as divide both 8 and ``channels``).
    Each of the ``queries`` sees each head through two layers of its own, ``tanh`` between them,
    which give the weights of every channel. https://arxiv.org/abs/2110.05042; layers, sizes and the
    output's order (query, head, mean before deviation) as in WeSpeaker's MQMHASTP. Variances are
    kept above ``eps`` under the root.

    Raises:
        UsageError: a value is out of its range, or ``heads`` does not divide ``channels``.
    """

    def __init__(
        self,
        channels: int,
        *,
        queries: int = 2,
        heads: int | None = None,
        attention_channels: int = 64,
        eps: float = 1e-7,
    ) -> None:
        require_whole("channels", channels, 1, MOST_POOLED)
        require_whole("queries", queries, 1, _MOST_QUERIES)
        require_channels(attention_channels=attention_channels)
        require_number("eps", eps, least=0)
        if heads is None:
            heads = math.gcd(8, channels)
        require_whole("heads", heads, 1, MOST_CHANNELS)
        require_whole("heads * attention_channels", heads * attention_channels, 1, MOST_POOLED)
        if channels % heads:
            raise UsageError(
                f"MQMHA pooling cannot split {channels} channels in {heads} heads: choose a divisor"
            )
        super().__init__()
        self.heads = heads
        self.output_size = 2 * queries * channels
        self.eps = eps
        hidden = heads * attention_channels
        self.queries = nn.LayerList(
            nn.Sequential(
                Conv1D(channels, hidden, 1, groups=heads),
                nn.Tanh(),
                Conv1D(hidden, channels, 1, groups=heads),
            )
            for _ in range(queries)
        )

    def forward(self, x: paddle.Tensor, lengths: paddle.Tensor | None = None) -> paddle.Tensor:
        x = as_float32(x)
        mean, centred, squared = _moments(x, lengths)
        outputs = []
        for query in self.queries:
            shift, deviation = _weighted(_attention(query(x), lengths), centred, squared, self.eps)
            by_head = [part.reshape([0, self.heads, -1]) for part in (mean + shift, deviation)]
            outputs.append(paddle.concat(by_head, axis=2).flatten(1))
        return paddle.concat(outputs, axis=1)


def _convolved_with_statistics(
    x: paddle.Tensor, statistics: paddle.Tensor, conv: Conv1D
) -> paddle.Tensor:
    """A convolution of kernel 1 over each frame of ``x`` together with ``statistics`` ``[batch, 2 *
    channels]``."""
    # The statistics are the same on every frame: their part of the convolution is computed once an
    # utterance, which spares two thirds of it and a copy of mean and deviation for each frame.
    channels = x.shape[1]
    context = paddle.matmul(statistics, conv.weight[:, channels:, 0], transpose_y=True) + conv.bias
    convolve = conv1d if conv.fast else F.conv1d
    return convolve(x, conv.weight[:, :channels]) + context.unsqueeze(-1)


def _attention(scores: paddle.Tensor, lengths: paddle.Tensor | None) -> paddle.Tensor:
    """Softmax over real frames, in float32."""
    return F.softmax(without_padding(as_float32(scores), lengths), axis=-1)


def without_padding(scores: paddle.Tensor, lengths: paddle.Tensor | None) -> paddle.Tensor:
    """Scores ``[batch, channels, frames]`` of which a softmax gives padding no weight."""
    if lengths is None:
        return scores
    padding = 1.0 - frame_mask(lengths, scores.shape[-1])
    return scores - (1e9 * padding).unsqueeze(1).expand(scores.shape)


def unbiased(variance: paddle.Tensor, frames: int, lengths: paddle.Tensor | None) -> paddle.Tensor:
    """A variance ``[batch, channels]`` that was divided by the number of real frames, divided by
    frames - 1 instead. The frames may be any positions, as those of mels and frames."""
    if lengths is None:
        return variance * (frames / (frames - 1))
    count = lengths.unsqueeze(1).astype("float32")
    return variance * (count / (count - 1).clip(min=1))


def _moments(
    x: paddle.Tensor, lengths: paddle.Tensor | None
) -> tuple[paddle.Tensor, paddle.Tensor, paddle.Tensor]:
    """The unweighted mean, ``d = x - mean`` and ``d ** 2``."""
    mean = mean_over_frames(x, lengths)
    centred = x - mean.unsqueeze(-1)
    return mean, centred, paddle.square(centred)


def _weighted(
    attention: paddle.Tensor, centred: paddle.Tensor, squared: paddle.Tensor, eps: float
) -> tuple[paddle.Tensor, paddle.Tensor]:
    """The weighted mean relative to the unweighted one, and the weighted standard deviation."""
    # Safe in float32 only because d is centred: E[x^2] - E[x]^2 would cancel where the mean is
    # large.
    shift = (attention * centred).sum(-1)
    variance = (attention * squared).sum(-1) - paddle.square(shift)
    return shift, paddle.sqrt(variance.clip(min=eps))
