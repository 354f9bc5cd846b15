"""Convolutions and linear layers that start as those of the toolkits that published the models.

WeSpeaker, 3D-Speaker and SpeechBrain build on PyTorch. Its layers start uniform within
``1 / sqrt(fan_in)``, biases too: sqrt(6) times narrower than Paddle's, so that a published learning
rate would move Paddle's six times less. A model whose toolkit draws some layers in another way says
so at the end of its constructor, with :func:`redraw`.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import paddle
import paddle.nn.functional as F
from paddle import nn
from paddle.nn.initializer import Constant, Initializer, KaimingNormal, Uniform, XavierUniform

from vprtrain.layers.convolution import conv1d, conv2d
from vprtrain.layers.paddle_internals import convolved, counted_inputs

Initialisation: TypeAlias = Literal["reference", "paddle"]
"""How a new run's weights start: as in the toolkit that published the model, or by Paddle's own
defaults."""


def torch_default(fan_in: int) -> Initializer:
    """PyTorch's start of the weights and biases of a convolution or a linear layer: uniform within
    ``1 / sqrt(fan_in)``.

    Args:
        fan_in: the number of inputs of one output.
    """
    return Uniform(-(fan_in**-0.5), fan_in**-0.5)


class Linear(nn.Linear):
    """``paddle.nn.Linear`` with PyTorch's start."""

    def __init__(self, in_features: int, out_features: int, *, bias: bool = True) -> None:
        start = torch_default(in_features)
        super().__init__(
            in_features, out_features, weight_attr=start, bias_attr=start if bias else False
        )


class Conv1D(nn.Conv1D):
    """``paddle.nn.Conv1D`` (zero padding) with PyTorch's start, and with a bias that is cheap on
    the CPU: :func:`add_channel_bias`."""

    fast = False
    """Whether training has the convolution of :func:`~vprtrain.layers.convolution.conv1d`. Results
    then differ by rounding."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        *,
        stride: int = 1,
        padding: int = 0,
        dilation: int = 1,
        groups: int = 1,
        bias: bool = True,
    ) -> None:
        start = torch_default(in_channels // groups * kernel_size)
        super().__init__(
            in_channels,
            out_channels,
            kernel_size,
            stride=stride,
            padding=padding,
            dilation=dilation,
            groups=groups,
            weight_attr=start,
            bias_attr=start if bias else False,
        )

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        y = convolved(conv1d if self.fast else F.conv1d, x, self, None)
        return y if self.bias is None else add_channel_bias(y, self.bias)


class Conv2D(nn.Conv2D):
    """``paddle.nn.Conv2D`` (zero padding) with PyTorch's start. A pair is of mels and frames."""

    fast = False
    """Whether training has the convolution of :func:`~vprtrain.layers.convolution.conv2d`. Results
    then differ by rounding."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, int],
        *,
        stride: int | tuple[int, int] = 1,
        padding: int = 0,
        dilation: int = 1,
        groups: int = 1,
        bias: bool = True,
    ) -> None:
        mels, frames = (kernel_size, kernel_size) if isinstance(kernel_size, int) else kernel_size
        start = torch_default(in_channels // groups * mels * frames)
        super().__init__(
            in_channels,
            out_channels,
            kernel_size,
            stride=stride,
            padding=padding,
            dilation=dilation,
            groups=groups,
            weight_attr=start,
            bias_attr=start if bias else False,
        )

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        return convolved(conv2d if self.fast else F.conv2d, x, self, self.bias)


def add_channel_bias(x: paddle.Tensor, bias: paddle.Tensor) -> paddle.Tensor:
    """``x + bias`` for a bias ``[channels]``.

    The bias is expanded over the batch first: Paddle's CPU kernels add ``[batch, channels, 1]``
    several times faster than ``[1, channels, 1]``, forward and backward.
    """
    return x + bias.reshape([1, -1, 1]).expand([x.shape[0], bias.shape[0], 1])


def redraw(
    network: nn.Layer,
    kinds: type[nn.Layer] | tuple[type[nn.Layer], ...],
    *,
    weight: Initializer,
    bias: Initializer | None = None,
) -> None:
    """Draw the weights of a network's layers of some kinds anew.

    Args:
        network: the network.
        kinds: the classes of the layers.
        weight: draws their weights.
        bias: draws their biases; ``None`` leaves these as they are.
    """
    for layer in network.sublayers(include_self=True):
        if isinstance(layer, kinds):
            weight(layer.weight)
            if bias is not None and layer.bias is not None:
                bias(layer.bias)


def draw_as_paddle(network: nn.Layer) -> None:
    """Draw the weights of all convolutions and linear layers of a network anew, as Paddle 3.3 does
    by default: convolutions He-normal, linear layers Xavier-uniform, biases zero."""
    redraw(network, nn.Linear, weight=XavierUniform(), bias=Constant(0.0))
    for layer in network.sublayers():
        if isinstance(layer, nn.Conv1D | nn.Conv2D):
            he = KaimingNormal(fan_in=counted_inputs(layer))
            redraw(layer, type(layer), weight=he, bias=Constant(0.0))
