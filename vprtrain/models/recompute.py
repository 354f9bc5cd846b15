"""Activations that are recomputed in the backward pass instead of being kept
(https://arxiv.org/abs/1604.06174)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import Any, NamedTuple

import paddle
from paddle import nn

from vprtrain.layers.convolution import Compute, convolutions_through


def recomputed(
    layer: nn.Layer, function: Callable[..., paddle.Tensor], *args: Any
) -> paddle.Tensor:
    """``function(*args)``, of which only ``args``, the parameters and, on a CPU, results of
    two-dimensional convolutions are kept for the backward pass.

    The rest is recomputed when the first gradient is needed, with the same mixed precision.
    Convolutions take longest on a CPU: the results of those that do not widen their input are
    small, and are kept. Values and gradients are the same to the last bit, and running statistics
    are updated once. ``layer`` holds the parameters that ``function`` uses. Without gradients this
    is a plain call. ``function`` must not use randomness (dropout), and must not change the result
    of a convolution in place.
    """
    if not paddle.is_grad_enabled() or not paddle.in_dynamic_mode():
        return function(*args)
    return _Recomputation(layer, partial(function, *args)).first_time()


class _Convolution(NamedTuple):
    """A convolution of the first time."""

    result: paddle.Tensor
    saved: int
    """How many of its input and its weight are saved for the backward pass."""
    stop_gradient: bool


class _Recomputation:
    """A call, of which places in the order of saving are kept instead of tensors."""

    def __init__(self, layer: nn.Layer, call: Compute) -> None:
        self._layer = layer
        self._call = call
        self._precision = _precision()
        self._places = 0
        self._saved: dict[int, paddle.Tensor] = {}
        self._convolutions: list[_Convolution] = []

    def first_time(self) -> paddle.Tensor:
        # With mixed precision a convolution saves casts of its input and its weight.
        keeps = paddle.get_device() == "cpu" and self._precision is nullcontext
        with (
            convolutions_through(self._convolve) if keeps else nullcontext(),
            paddle.autograd.saved_tensors_hooks(self._keep_place, self._fetch),
        ):
            return self._call()

    def _convolve(self, compute: Compute, x: paddle.Tensor, weight: paddle.Tensor) -> paddle.Tensor:
        if _widens(weight):
            return compute()
        before = self._places
        result = compute()
        saved = self._places - before
        self._convolutions.append(_Convolution(result.detach(), saved, result.stop_gradient))
        return result

    def _keep_place(self, _: paddle.Tensor) -> int:
        self._places += 1
        return self._places - 1

    def _fetch(self, place: int) -> paddle.Tensor:
        if place not in self._saved:
            self._second_time()
        return self._saved.pop(place)

    def _second_time(self) -> None:
        self._saved.clear()
        convolutions, self._convolutions = iter(self._convolutions), []
        with (
            paddle.enable_grad(),
            self._precision(),
            _statistics_kept(self._layer),
            convolutions_through(partial(self._convolved, convolutions)),
            paddle.autograd.saved_tensors_hooks(self._keep, _never),
        ):
            self._call()

    def _convolved(
        self,
        convolutions: Iterator[_Convolution],
        compute: Compute,
        x: paddle.Tensor,
        weight: paddle.Tensor,
    ) -> paddle.Tensor:
        """The result of the first time, after saving what the convolution saves."""
        first = None if _widens(weight) else next(convolutions, None)
        if first is None:
            return compute()
        for tensor in (x, weight)[: first.saved]:
            self._keep(tensor)
        first.result.stop_gradient = first.stop_gradient
        return first.result

    def _keep(self, tensor: paddle.Tensor) -> None:
        # Detached: what belongs to the second graph would hold that graph, and it would hold what
        # is kept here.
        self._saved[len(self._saved)] = tensor.detach()


def _widens(weight: paddle.Tensor) -> bool:
    """Whether a convolution has more channels of results than of inputs."""
    outputs, inputs = weight.shape[:2]
    return bool(outputs > inputs)


def _never(place: None) -> paddle.Tensor:
    raise AssertionError("the second graph has no backward pass")


def _precision() -> Callable[[], AbstractContextManager[Any]]:
    """A context factory that restores the current mixed precision later."""
    if not paddle.amp.is_autocast_enabled():
        return nullcontext
    dtype = paddle.amp.get_autocast_dtype()
    return lambda: paddle.amp.auto_cast(dtype=dtype, level="O1")


@contextmanager
def _statistics_kept(layer: nn.Layer) -> Iterator[None]:
    """A context that restores batch normalisation's running statistics at its end."""
    before = [(value, value.clone()) for value in layer.parameters() if value.stop_gradient]
    yield
    for value, old in before:
        paddle.assign(old, output=value)
