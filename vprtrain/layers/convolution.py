"""A two-dimensional convolution whose backward pass is cheaper on the CPU."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import paddle
import paddle.nn.functional as F
from paddle.autograd import PyLayer

_POSITIONS_PER_OUTPUT = 16
"""Positions of a batch for each output channel from which :func:`conv2d` flips the weight. Flipping
costs as much as it saves at about 12 (measured with 16 to 512 channels, one thread)."""


def conv2d(
    x: paddle.Tensor,
    weight: paddle.Tensor,
    bias: paddle.Tensor | None,
    stride: Sequence[int],
    padding: int,
    dilation: Sequence[int],
    groups: int,
) -> paddle.Tensor:
    """``paddle.nn.functional.conv2d``, with another way to the gradient of ``x`` on the CPU.

    Paddle's CPU kernel multiplies matrices and adds up overlapping columns, which takes longer than
    the product if there are few channels. With stride 1 the gradient is also the convolution of the
    result's gradient with the transposed and flipped weight (https://arxiv.org/abs/1603.07285,
    section 4), and nothing is added up. Results are the same to the last bit, gradients up to
    rounding. Static graphs (exports) and other devices have the plain convolution.

    One graph has one backward pass, without a graph of its own: in Paddle 3.3.1 a second one
    (``retain_graph=True``) ends the process with any ``paddle.autograd.PyLayer`` in the graph,
    whatever it does. So a loss that needs more of them, as a gradient penalty does, must not have
    it.

    Args:
        x: ``[batch, in_channels, mels, frames]``.
        weight: ``[out_channels, in_channels / groups, kernel_mels, kernel_frames]``.
        bias: ``[out_channels]``, or ``None``.
        stride: of mels and frames.
        padding: the zeros before and after each of both axes.
        dilation: of mels and frames.
        groups: the number of groups of channels.

    Returns:
        ``[batch, out_channels, mels, frames]``.
    """
    if not _flips_weight(x, weight, stride, padding, dilation, groups):
        return F.conv2d(x, weight, bias, stride, padding, dilation, groups)
    # This gives the gradients of the weight and the bias only.
    y = F.conv2d(x.detach(), weight, bias, stride, padding, dilation)
    kernel = weight.shape[2:]
    crop = [step * (size - 1) - padding for step, size in zip(dilation, kernel, strict=True)]

    def input_gradient(gradient: paddle.Tensor) -> paddle.Tensor:
        flipped = weight.detach().flip([2, 3]).transpose([1, 0, 2, 3])
        return F.conv2d(gradient, flipped, padding=crop, dilation=dilation)

    return _InputGradient.apply(x, y, input_gradient)


def _flips_weight(
    x: paddle.Tensor,
    weight: paddle.Tensor,
    stride: Sequence[int],
    padding: int,
    dilation: Sequence[int],
    groups: int,
) -> bool:
    """Whether the gradient of ``x`` is needed, and cheaper with a flipped weight."""
    if not paddle.in_dynamic_mode() or x.stop_gradient or not paddle.is_grad_enabled():
        return False
    if not x.place.is_cpu_place() or x.dtype != weight.dtype:
        return False
    outputs, inputs, *kernel = weight.shape
    if groups != 1 or list(stride) != [1, 1]:
        return False
    if any(padding > step * (size - 1) for step, size in zip(dilation, kernel, strict=True)):
        return False
    # The columns of the gradient are copied instead of those of the input.
    if outputs > inputs and kernel != [1, 1]:
        return False
    batch, _, mels, frames = x.shape
    return batch * mels * frames >= _POSITIONS_PER_OUTPUT * outputs


class _InputGradient(PyLayer):
    """``y``, of which a given function of its gradient is the gradient of ``x``."""

    @staticmethod
    def forward(
        ctx: Any,
        x: paddle.Tensor,
        y: paddle.Tensor,
        input_gradient: Callable[[paddle.Tensor], paddle.Tensor],
    ) -> paddle.Tensor:
        ctx.input_gradient = input_gradient
        ctx.trains_weight = not y.stop_gradient
        return y.view(y.shape)

    @staticmethod
    def backward(ctx: Any, gradient: paddle.Tensor) -> tuple[paddle.Tensor, paddle.Tensor | None]:
        return ctx.input_gradient(gradient), gradient if ctx.trains_weight else None
