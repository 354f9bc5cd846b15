"""Convolutions for training that are faster on the CPU than Paddle's."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import paddle
import paddle.nn.functional as F
from paddle.autograd import PyLayer

from vprtrain.layers.onednn import Convolution, Geometry, convolution


def conv1d(
    x: paddle.Tensor,
    weight: paddle.Tensor,
    bias: paddle.Tensor | None = None,
    stride: Sequence[int] = (1,),
    padding: int = 0,
    dilation: Sequence[int] = (1,),
    groups: int = 1,
) -> paddle.Tensor:
    """``paddle.nn.functional.conv1d`` of ``[batch, channels, frames]``, as :func:`conv2d`."""
    return _convolved(F.conv1d, x, weight, bias, (stride, padding, dilation, groups))


def conv2d(
    x: paddle.Tensor,
    weight: paddle.Tensor,
    bias: paddle.Tensor | None = None,
    stride: Sequence[int] = (1, 1),
    padding: int = 0,
    dilation: Sequence[int] = (1, 1),
    groups: int = 1,
) -> paddle.Tensor:
    """``paddle.nn.functional.conv2d``, on the CPU by :mod:`vprtrain.layers.onednn`.

    Results and gradients are the same up to rounding. Where no gradient is needed, in static graphs
    (exports), with other types than float32 and on other devices it is Paddle's own.

    One graph has one backward pass, without a graph of its own: in Paddle 3.3.1 a second one
    (``retain_graph=True``) ends the process with any ``paddle.autograd.PyLayer`` in the graph,
    whatever it does. So a loss that needs more of them, as a gradient penalty does, must not have
    it. ``paddle.grad`` must be asked for every input that needs a gradient: of a ``PyLayer`` it
    refuses the gradient of ``x`` alone, which ``backward`` gives with a frozen weight.

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
    return _convolved(F.conv2d, x, weight, bias, (stride, padding, dilation, groups))


def _convolved(
    paddles: Callable[..., paddle.Tensor],
    x: paddle.Tensor,
    weight: paddle.Tensor,
    bias: paddle.Tensor | None,
    options: tuple[Sequence[int], int, Sequence[int], int],
) -> paddle.Tensor:
    """oneDNN's convolution, or Paddle's."""
    passes = _passes(x, weight, *options)
    if passes is None:
        return paddles(x, weight, bias, *options)
    y = _Convolution.apply(x, weight, passes)
    return y if bias is None else y + bias.reshape([1, -1, *[1] * (x.ndim - 2)])


def _passes(
    x: paddle.Tensor,
    weight: paddle.Tensor,
    stride: Sequence[int],
    padding: int,
    dilation: Sequence[int],
    groups: int,
) -> Convolution | None:
    """oneDNN's convolution, if it can compute this one and a gradient is needed."""
    if not paddle.in_dynamic_mode() or not paddle.is_grad_enabled():
        return None
    if x.stop_gradient and weight.stop_gradient:
        return None
    if not x.place.is_cpu_place() or {x.dtype, weight.dtype} != {paddle.float32}:
        return None
    geometry = Geometry(
        *(tuple(x.shape), tuple(weight.shape), tuple(stride), padding, tuple(dilation), groups)
    )
    return convolution(geometry) if geometry.is_possible else None  # Paddle's says what is wrong


class _Convolution(PyLayer):
    """A convolution and its backward pass."""

    @staticmethod
    def forward(
        ctx: Any, x: paddle.Tensor, weight: paddle.Tensor, passes: Convolution
    ) -> paddle.Tensor:
        ctx.passes, ctx.needs = passes, (not x.stop_gradient, not weight.stop_gradient)
        x = x.contiguous()
        ctx.save_for_backward(x, weight)
        ctx.versions = x.inplace_version, weight.inplace_version
        return passes.result(x, weight.contiguous())

    @staticmethod
    def backward(
        ctx: Any, gradient: paddle.Tensor
    ) -> tuple[paddle.Tensor | None, paddle.Tensor | None]:
        x, weight = ctx.saved_tensor()
        # Paddle looks at this for its own operations, but not for a PyLayer.
        if x.inplace_version > ctx.versions[0] or weight.inplace_version > ctx.versions[1]:
            raise RuntimeError(
                "an input of a convolution was changed in place before its gradient was computed: "
                "expected it unchanged"
            )
        gradient = gradient.contiguous()
        of_x, of_weight = ctx.needs
        return (
            ctx.passes.source_gradient(gradient, weight.contiguous()) if of_x else None,
            ctx.passes.weight_gradient(x, gradient) if of_weight else None,
        )
