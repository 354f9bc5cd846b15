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
    LocalAttentiveStatisticsPooling,
    MultiQueryMultiHeadPooling,
    SelfAttentivePooling,
    SelfAttentiveStatisticsPooling,
    unbiased,
)
from vprtrain.models.xi_pooling import PosteriorMeanPooling

PoolingName = Literal[
    "ASP", "ASTP", "LASP", "SAP", "TSP", "TSVP", "TAP", "TSDP", "TSTP", "MQMHA", "XI"
]


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
        return paddle.concat([mean, unbiased(variance, x.shape[-1], lengths)], axis=1)


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
        variance = unbiased(variance, x.shape[-1], lengths)
        return paddle.concat([mean, paddle.sqrt(variance + self.eps)], axis=1)


class DeviationPooling(nn.Layer):
    """Standard deviation over real frames (TSDP): the second half of :class:`StatisticsPooling`."""

    def __init__(self, channels: int, *, eps: float = 1e-8) -> None:
        super().__init__()
        self.output_size = channels
        self.statistics = StatisticsPooling(channels, eps=eps)

    def forward(self, x: paddle.Tensor, lengths: paddle.Tensor | None = None) -> paddle.Tensor:
        return self.statistics(x, lengths)[:, self.output_size :]


def _mean_and_variance(
    x: paddle.Tensor, lengths: paddle.Tensor | None
) -> tuple[paddle.Tensor, paddle.Tensor]:
    """Both ``[batch, channels]``, the variance divided by the number of frames."""
    x = as_float32(x)
    mean = mean_over_frames(x, lengths)
    return mean, mean_over_frames(paddle.square(x - mean.unsqueeze(-1)), lengths)


# The class of each name, and which of build_pooling's options it knows.
_POOLINGS: dict[str, tuple[type[nn.Layer], tuple[str, ...]]] = {
    "ASP": (AttentiveStatisticsPooling, ("eps", "attention_channels")),
    "ASTP": (SelfAttentiveStatisticsPooling, ("eps", "attention_channels", "global_context")),
    "LASP": (LocalAttentiveStatisticsPooling, ("eps", "attention_channels")),
    "SAP": (SelfAttentivePooling, ("attention_channels",)),
    "TSP": (MeanDeviationPooling, ("eps",)),
    "TSVP": (MeanVariancePooling, ()),
    "TAP": (AveragePooling, ()),
    "TSDP": (DeviationPooling, ("eps",)),
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
    global_context: bool | None = None,
) -> nn.Layer:
    """Build the pooling ``name`` over ``channels``; its ``output_size`` is the width of the result.

    ``eps`` is added to the variance under a square root, or is its lower limit;
    ``attention_channels`` is the width of an attention's hidden layer; ``global_context`` is for
    ASTP. ``None`` means the pooling's own default; a pooling ignores what it does not have.

    Raises:
        UsageError: there is no such pooling, or it cannot have that many channels.
    """
    require_choice("pooling", name, _POOLINGS)
    pooling, known = _POOLINGS[name]
    options = {
        "eps": eps,
        "attention_channels": attention_channels,
        "global_context": global_context,
    }
    return pooling(channels, **{key: options[key] for key in known if options[key] is not None})
