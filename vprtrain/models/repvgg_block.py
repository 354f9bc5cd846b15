"""The block of RepVGG: parallel convolutions in training that are one convolution afterwards."""

from __future__ import annotations

import numpy as np
import paddle
from paddle import nn

from vprtrain.errors import UsageError
from vprtrain.layers.blocks import conv_norm, masked, relu, strided_lengths
from vprtrain.layers.initialisation import Conv2D
from vprtrain.layers.paddle_internals import epsilon, running_statistics
from vprtrain.models.residual import Stride
from vprtrain.models.resnet_se import SqueezeExcitation2D

_SE_REDUCTION = 4


class ConvNorm(nn.Layer):
    """A convolution that keeps mels and frames at stride 1, and batch normalisation."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        *,
        stride: Stride,
        dilation: int = 1,
        groups: int,
    ) -> None:
        super().__init__()
        self.conv = Conv2D(
            in_channels,
            out_channels,
            kernel_size,
            stride=stride,
            padding=dilation * (kernel_size // 2),
            dilation=dilation,
            groups=groups,
            bias=False,
        )
        self.bn = nn.BatchNorm2D(out_channels)
        self._dilation = dilation

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        return conv_norm(x, self.conv, self.bn)

    def kernel(self) -> np.ndarray:
        """The convolution's weight ``[out_channels, in_channels / groups, size, size]``, with zeros
        between the values of a dilated one."""
        weight = self.conv.weight.numpy()
        size = self._dilation * (weight.shape[-1] - 1) + 1
        kernel = np.zeros((*weight.shape[:2], size, size), "float32")
        kernel[:, :, :: self._dilation, :: self._dilation] = weight
        return kernel


class RepVGGBlock(nn.Layer):
    """The sum of two normalised convolutions and, where the shape stays, of the normalised input;
    ReLU; optionally channels weighted by squeeze and excitation.

    Input and result are ``[batch, channels, mels, frames]``, zero on padding; ``lengths`` are those
    of the input. The options are those of
    :class:`~vprtrain.models.repvgg.RepVGG`.

    Raises:
        UsageError: ``groups`` does not divide the channels.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        stride: Stride = (1, 1),
        dilated: bool,
        groups: int = 1,
        squeeze_excitation: bool,
        deploy: bool,
    ) -> None:
        super().__init__()
        if in_channels % groups or out_channels % groups:
            raise UsageError(
                f"groups is {groups}, which does not divide {in_channels} and {out_channels} "
                "channels: choose a divisor of all widths"
            )
        reach = 2 if dilated else 1
        if deploy:
            self.conv = Conv2D(
                in_channels,
                out_channels,
                2 * reach + 1,
                stride=stride,
                padding=reach,
                groups=groups,
            )
        else:
            self.branches = nn.LayerList(
                ConvNorm(
                    in_channels,
                    out_channels,
                    kernel_size,
                    stride=stride,
                    dilation=dilation,
                    groups=groups,
                )
                for kernel_size, dilation in ((3, 1), (3, 2) if dilated else (1, 1))
            )
            if in_channels == out_channels and stride == (1, 1):
                self.branches.append(nn.BatchNorm2D(in_channels))
        self.gate = (
            SqueezeExcitation2D(out_channels, out_channels // _SE_REDUCTION)
            if squeeze_excitation
            else None
        )
        self.deploy = deploy
        self._kernel_size = 2 * reach + 1
        self._frame_stride = stride[1]

    def forward(self, x: paddle.Tensor, lengths: paddle.Tensor | None) -> paddle.Tensor:
        if self.deploy:
            y = self.conv(x)
        else:
            first, *others = (branch(x) for branch in self.branches)
            y = sum(others, start=first)
        lengths = strided_lengths(lengths, self._frame_stride)
        y = masked(relu(y), lengths)
        return y if self.gate is None else self.gate(y, lengths)

    def fused(self) -> dict[str, np.ndarray]:
        """The ``weight`` and the ``bias`` of one convolution that does what the branches do in
        evaluation mode."""
        weight, bias = np.float32(0), np.float32(0)
        kernels = [branch.kernel() for branch in self.branches[:2]]
        if len(self.branches) > 2:
            kernels.append(_identity_kernel(*kernels[0].shape[:2]))
        for kernel, branch in zip(kernels, self.branches, strict=True):
            norm = branch.bn if isinstance(branch, ConvNorm) else branch
            mean, variance = (value.numpy() for value in running_statistics(norm))
            scale = norm.weight.numpy() / np.sqrt(variance + epsilon(norm))
            margin = (self._kernel_size - kernel.shape[-1]) // 2
            padded = np.pad(kernel, [(0, 0), (0, 0), (margin, margin), (margin, margin)])
            weight = weight + padded * scale[:, None, None, None]
            bias = bias + norm.bias.numpy() - mean * scale
        return {"weight": weight, "bias": bias}


def _identity_kernel(channels: int, group_channels: int) -> np.ndarray:
    """The kernel ``[channels, group_channels, 1, 1]`` that changes nothing."""
    kernel = np.zeros((channels, group_channels, 1, 1), "float32")
    index = np.arange(channels)
    kernel[index, index % group_channels] = 1
    return kernel


class RepVGGStem(RepVGGBlock):
    """The first block: ``[batch, mels, frames]`` to ``[batch, channels, mels, frames]``; padding is
    ignored, and zero in the result."""

    def __init__(
        self, channels: int, *, dilated: bool, squeeze_excitation: bool, deploy: bool
    ) -> None:
        super().__init__(
            1, channels, dilated=dilated, squeeze_excitation=squeeze_excitation, deploy=deploy
        )

    def forward(self, x: paddle.Tensor, lengths: paddle.Tensor | None) -> paddle.Tensor:
        return super().forward(masked(x, lengths).unsqueeze(1), lengths)
