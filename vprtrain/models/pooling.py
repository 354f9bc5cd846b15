"""From frames to one vector an utterance.

Each pooling maps ``[batch, channels, frames]`` and optional ``lengths`` to ``[batch, output_size]``, in
float32 whatever comes in.
"""

from __future__ import annotations

import paddle
import paddle.nn.functional as F
from paddle import nn

from vprtrain.models.blocks import Conv1D, TDNNBlock, as_float32, frame_mask, mean_over_frames


class StatisticsPooling(nn.Layer):
    """Mean and standard deviation over real frames (TSTP): ``sqrt(var + eps)``, var divided by frames - 1.

    A positive ``eps`` also keeps the gradient finite where a channel is constant.
    """

    def __init__(self, channels: int, *, eps: float = 1e-8) -> None:
        super().__init__()
        self.output_size = 2 * channels
        self.eps = eps

    def forward(self, x: paddle.Tensor, lengths: paddle.Tensor | None = None) -> paddle.Tensor:
        x = as_float32(x)
        mean = mean_over_frames(x, lengths)
        variance = mean_over_frames(paddle.square(x - mean.unsqueeze(-1)), lengths)
        if lengths is None:
            variance = variance * (x.shape[-1] / (x.shape[-1] - 1))
        else:
            count = lengths.unsqueeze(1).astype("float32")
            variance = variance * (count / (count - 1).clip(min=1))
        return paddle.concat([mean, paddle.sqrt(variance + self.eps)], axis=1)


class AttentiveStatisticsPooling(nn.Layer):
    """Weighted mean and standard deviation (ASP), each channel with its own attention over real frames.

    The attention sees a frame beside the utterance's plain mean and standard deviation (global context), as
    in ECAPA-TDNN (https://arxiv.org/abs/2005.07143) and SpeechBrain. Variances are divided by the number of
    frames and kept above ``eps`` under the root.
    """

    def __init__(self, channels: int, *, attention_channels: int = 128, eps: float = 1e-12) -> None:
        super().__init__()
        self.output_size = 2 * channels
        self.eps = eps
        self.channels = channels
        self.tdnn = TDNNBlock(3 * channels, attention_channels)
        self.conv = Conv1D(attention_channels, channels, 1)

    def forward(self, x: paddle.Tensor, lengths: paddle.Tensor | None = None) -> paddle.Tensor:
        # Centring on the plain mean serves both pairs of statistics, and makes E[d^2] - E[d]^2 safe below.
        x = as_float32(x)
        mean = mean_over_frames(x, lengths)
        centred = x - mean.unsqueeze(-1)
        squared = paddle.square(centred)
        deviation = self._root(mean_over_frames(squared, lengths))

        attention = self._attention(x, paddle.concat([mean, deviation], axis=1), lengths)
        shift = (attention * centred).sum(-1)
        variance = (attention * squared).sum(-1) - paddle.square(shift)
        return paddle.concat([mean + shift, self._root(variance)], axis=1)

    def _attention(self, x: paddle.Tensor, statistics: paddle.Tensor, lengths: paddle.Tensor | None) -> paddle.Tensor:
        # The statistics are the same on every frame: their part of the first convolution is computed once an
        # utterance, which spares two thirds of it and a copy of mean and deviation for each frame.
        weight, bias = self.tdnn.conv.weight, self.tdnn.conv.bias
        context = paddle.matmul(statistics, weight[:, self.channels :, 0], transpose_y=True) + bias
        hidden = F.conv1d(x, weight[:, : self.channels]) + context.unsqueeze(-1)
        scores = as_float32(self.conv(paddle.tanh(self.tdnn.norm(F.relu(hidden)))))
        if lengths is not None:
            padding = 1.0 - frame_mask(lengths, x.shape[-1])
            scores = scores - (1e9 * padding).unsqueeze(1).expand_as(scores)
        return F.softmax(scores, axis=-1)

    def _root(self, variance: paddle.Tensor) -> paddle.Tensor:
        return paddle.sqrt(variance.clip(min=self.eps))
