"""Activations that are recomputed in the backward pass instead of being kept
(https://arxiv.org/abs/1604.06174)."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import paddle
from paddle import nn


def recomputed(
    layer: nn.Layer, function: Callable[..., paddle.Tensor], *args: Any
) -> paddle.Tensor:
    """``function(*args)``, of which only ``args`` and the parameters are kept for the backward
    pass.

    The rest is recomputed when the first gradient is needed, with the same mixed precision. Values
    and gradients are the same to the last bit, and running statistics are updated once. ``layer``
    holds the parameters that ``function`` uses. Without gradients this is a plain call.
    ``function`` must not use randomness (dropout).
    """
    if not paddle.is_grad_enabled() or not paddle.in_dynamic_mode():
        return function(*args)
    precision = _precision()
    places = itertools.count()
    saved: dict[int, paddle.Tensor] = {}

    def keep_place(_: paddle.Tensor) -> int:
        return next(places)

    def keep(tensor: paddle.Tensor) -> None:
        # Detached: what belongs to the second graph would hold that graph, and it would hold what
        # is kept here.
        saved[len(saved)] = tensor.detach()

    def fetch(place: int) -> paddle.Tensor:
        if place not in saved:
            saved.clear()
            with (
                paddle.enable_grad(),
                precision(),
                _statistics_kept(layer),
                paddle.autograd.saved_tensors_hooks(keep, _never),
            ):
                function(*args)
        return saved.pop(place)

    with paddle.autograd.saved_tensors_hooks(keep_place, fetch):
        return function(*args)


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
