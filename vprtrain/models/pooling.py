"""Pooling: from frames to one vector per utterance.

Each pooling maps ``[batch, channels, frames]`` and optional ``lengths`` ``[batch]`` to
``[batch, output_size]``, in float32 for any input type. :func:`build_pooling` builds one by name.
"""

from __future__ import annotations

from typing import Literal

import paddle
from paddle import nn

from vprtrain.errors import require_choice, require_number, require_whole
from vprtrain.layers.blocks import mean_over_frames
from vprtrain.layers.precision import as_float32
from vprtrain.models.attentive_pooling import (
    MOST_POOLED,
    AttentiveStatisticsPooling,
    MultiQueryMultiHeadPooling,
    SelfAttentivePooling,
)
from vprtrain.models.xi_pooling import PosteriorMeanPooling

PoolingName = Literal["ASP", "SAP", "TSP", "TSVP", "TAP", "TSTP", "MQMHA", "XI"]


class AveragePooling(nn.Layer):
    """Mean over real frames (TAP)."""

    def __init__(self, channels: int) -> None:
        require_whole("channels", channels, 1, MOST_POOLED)
        super().__init__()
        self.output_size = channels

    def forward(self, x: paddle.Tensor, lengths: paddle.Tensor | None = None) -> paddle.Tensor:
        return mean_over_frames(as_float32(x), lengths)


class MeanDeviationPooling(nn.Layer):
    """Mean and standard deviation over real frames (TSP), the variance divided by frames and kept
    above ``eps``.

    As in the x-vector paper (https://www.danielpovey.com/files/2018_icassp_xvectors.pdf) and Kaldi.
    """

    def __init__(self, channels: int, *, eps: float = 1e-10) -> None:
        require_whole("channels", channels, 1, MOST_POOLED)
        require_number("eps", eps, least=0)
        super().__init__()
        self.output_size = 2 * channels
        self.eps = eps

    def forward(self, x: paddle.Tensor, lengths: paddle.Tensor | None = None) -> paddle.Tensor:
        mean, variance = _mean_and_variance(x, lengths)
        return paddle.concat([mean, paddle.sqrt(variance.clip(min=self.eps))], axis=1)


class MeanVariancePooling(nn.Layer):
    """Mean and variance over real frames (TSVP), divided by frames - 1: what ppvector calls TSP."""

    def __init__(self, channels: int) -> None:
        require_whole("channels", channels, 1, MOST_POOLED)
        super().__init__()
        self.output_size = 2 * channels

    def forward(self, x: paddle.Tensor, lengths: paddle.Tensor | None = None) -> paddle.Tensor:
        mean, variance = _mean_and_variance(x, lengths)
        return paddle.concat([mean, _unbiased(variance, x.shape[-1], lengths)], axis=1)


class StatisticsPooling(nn.Layer):
    """Mean and standard deviation over real frames (TSTP): ``sqrt(var + eps)``, var divided by
    frames - 1.

    As in 3D-Speaker and WeSpeaker. A positive ``eps`` also keeps the gradient finite where a
    channel is constant.
    """

    def __init__(self, channels: int, *, eps: float = 1e-8) -> None:
        require_whole("channels", channels, 1, MOST_POOLED)
        require_number("eps", eps, least=0)
        super().__init__()
        self.output_size = 2 * channels
        self.eps = eps

    def forward(self, x: paddle.Tensor, lengths: paddle.Tensor | None = None) -> paddle.Tensor:
        mean, variance = _mean_and_variance(x, lengths)
        variance = _unbiased(variance, x.shape[-1], lengths)
        return paddle.concat([mean, paddle.sqrt(variance + self.eps)], axis=1)


def _mean_and_variance(
    x: paddle.Tensor, lengths: paddle.Tensor | None
) -> tuple[paddle.Tensor, paddle.Tensor]:
    """Both ``[batch, channels]``, the variance divided by the number of frames."""
    x = as_float32(x)
    mean = mean_over_frames(x, lengths)
    return mean, mean_over_frames(paddle.square(x - mean.unsqueeze(-1)), lengths)


def _unbiased(variance: paddle.Tensor, frames: int, lengths: paddle.Tensor | None) -> paddle.Tensor:
    if lengths is None:
        return variance * (frames / (frames - 1))
    count = lengths.unsqueeze(1).astype("float32")
    return variance * (count / (count - 1).clip(min=1))


# The class of each name, and which of build_pooling's options it knows.
_POOLINGS: dict[str, tuple[type[nn.Layer], tuple[str, ...]]] = {
    "ASP": (AttentiveStatisticsPooling, ("eps", "attention_channels")),
    "SAP": (SelfAttentivePooling, ("attention_channels",)),
    "TSP": (MeanDeviationPooling, ("eps",)),
    "TSVP": (MeanVariancePooling, ()),
    "TAP": (AveragePooling, ()),
    "TSTP": (StatisticsPooling, ("eps",)),
    "MQMHA": (MultiQueryMultiHeadPooling, ("eps", "attention_channels")),
    "XI": (PosteriorMeanPooling, ("attention_channels",)),
}


def build_pooling(
    name: PoolingName,
    channels: int,
    *,
    eps: float | None = None,
    attention_channels: int | None = None,
) -> nn.Layer:
    """Build the pooling ``name`` over ``channels``; its ``output_size`` is the width of the result.

    ``eps`` is added to the variance under a square root, or is its lower limit;
    ``attention_channels`` is the width of an attention's hidden layer. ``None`` means the pooling's
    own default; a pooling without root or attention ignores them.

    Raises:
        UsageError: there is no such pooling, or it cannot have that many channels.
    """
    require_choice("pooling", name, _POOLINGS)
    pooling, known = _POOLINGS[name]
    options = {"eps": eps, "attention_channels": attention_channels}
    return pooling(channels, **{key: options[key] for key in known if options[key] is not None})
