"""The pooling of the xi-vector."""

from __future__ import annotations

import math

import paddle
import paddle.nn.functional as F
from paddle import nn

from vprtrain.errors import require_whole
from vprtrain.layers.blocks import TDNNBlock
from vprtrain.layers.initialisation import Conv1D
from vprtrain.layers.precision import as_float32
from vprtrain.layers.sizes import require_channels
from vprtrain.models.attentive_pooling import MOST_POOLED, without_padding

_MOST_LOG_PRECISION = 15.0


class PosteriorMeanPooling(nn.Layer):
    """The posterior mean of an utterance's Gaussian model (XI).

    Each frame is an observation of one hidden vector, with a precision of its own in every channel;
    a trained prior counts as one frame more. The posterior mean is then the weighted mean of frames
    and prior, with ``softmax(log precision)`` as weights: https://ieeexplore.ieee.org/document/9463712
    (Xi-vector embedding for speaker recognition). Layers and limits as in WeSpeaker's XI: the log
    precision is ``2 log(softplus(z))``, between -15 and 15.
    """

    def __init__(self, channels: int, *, attention_channels: int = 256) -> None:
        require_whole("channels", channels, 1, MOST_POOLED)
        require_channels(attention_channels=attention_channels)
        super().__init__()
        self.output_size = channels
        self.tdnn = TDNNBlock(channels, attention_channels)
        self.conv = Conv1D(attention_channels, channels, 1)
        zeros = nn.initializer.Constant(0.0)
        self.prior_mean = self.create_parameter([1, channels], default_initializer=zeros)
        self.prior_log_precision = self.create_parameter([1, channels], default_initializer=zeros)

    def forward(self, x: paddle.Tensor, lengths: paddle.Tensor | None = None) -> paddle.Tensor:
        x = as_float32(x)
        precision = without_padding(self._log_precision(x), lengths)
        weights = F.softmax(_with_prior(precision, self.prior_log_precision), axis=-1)
        return (weights * _with_prior(x, self.prior_mean)).sum(-1)

    def _log_precision(self, x: paddle.Tensor) -> paddle.Tensor:
        # Limited before the logarithm, whose gradient at 0 is not finite.
        most = math.exp(_MOST_LOG_PRECISION / 2)
        z = as_float32(self.conv(self.tdnn(x)))
        # softplus(z), which paddle2onnx 2.1.0 does not convert
        scale = F.relu(z) + paddle.log1p(paddle.exp(-z.abs()))
        return 2.0 * paddle.log(scale.clip(min=1 / most, max=most))


def _with_prior(frames: paddle.Tensor, prior: paddle.Tensor) -> paddle.Tensor:
    """``[batch, channels, frames + 1]``, the prior ``[1, channels]`` last."""
    return paddle.concat([frames, prior.unsqueeze(-1).expand([frames.shape[0], -1, 1])], axis=-1)
