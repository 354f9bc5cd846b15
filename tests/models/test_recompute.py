"""recomputed: the same values, gradients and statistics with less memory."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import paddle
import pytest
from paddle import nn
from small_encoders import random_features

from vprtrain.models.recompute import recomputed


class Chain(nn.Layer):
    """Products and batch normalisations, which all keep their inputs for the backward pass."""

    def __init__(self) -> None:
        super().__init__()
        self.norms = nn.LayerList(nn.BatchNorm1D(4) for _ in range(3))
        self.calls = 0

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        self.calls += 1
        for norm in self.norms:
            x = norm(x) * x
        return x


def gradients_and_state(
    layer: Chain, x: np.ndarray, *, recompute: bool, steps: int = 2
) -> list[np.ndarray]:
    inputs = paddle.to_tensor(x, stop_gradient=False)
    for _ in range(steps):
        y = recomputed(layer, layer, inputs) if recompute else layer(inputs)
        paddle.square(y).sum().backward()
    gradients = [p.grad for p in (inputs, *layer.parameters()) if not p.stop_gradient]
    return [value.numpy() for value in (y, *gradients, *layer.state_dict().values())]


def test_values_gradients_and_running_statistics_are_the_same_bits() -> None:
    paddle.seed(0)
    plain, other = Chain(), Chain()
    other.set_state_dict(plain.state_dict())
    x = random_features(6, 4, 5)
    expected = gradients_and_state(plain, x, recompute=False)
    for ours, theirs in zip(gradients_and_state(other, x, recompute=True), expected, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert (plain.calls, other.calls) == (2, 4)


def test_the_forward_pass_keeps_no_activation() -> None:
    def kept(recompute: bool) -> int:
        layer, x = Chain(), paddle.ones([64, 4, 256])
        x.stop_gradient = False
        before = paddle.base.core.host_memory_stat_current_value("Allocated", 0)
        y = recomputed(layer, layer, x) if recompute else layer(x)
        return (paddle.base.core.host_memory_stat_current_value("Allocated", 0) - before) // (
            y.size * 4
        )

    assert kept(recompute=False) >= 4
    assert kept(recompute=True) == 1  # the result


def test_without_gradients_it_is_a_plain_call() -> None:
    layer, x = Chain(), paddle.ones([2, 4, 5])
    with paddle.no_grad():
        y = recomputed(layer, layer, x)
    assert y.stop_gradient and layer.calls == 1


def test_the_second_time_has_the_first_one_s_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    # On a CPU Paddle's mixed precision is always off, so three of its functions are replaced.
    now = ["float32"]

    @contextmanager
    def auto_cast(*, dtype: str, level: str) -> Iterator[None]:
        before, now[0] = now[0], f"{dtype} {level}"
        yield
        now[0] = before

    monkeypatch.setattr(paddle.amp, "is_autocast_enabled", lambda: now[0] != "float32")
    monkeypatch.setattr(paddle.amp, "get_autocast_dtype", lambda: now[0].split()[0])
    monkeypatch.setattr(paddle.amp, "auto_cast", auto_cast)
    layer, seen = Chain(), []

    def function(x: paddle.Tensor) -> paddle.Tensor:
        seen.append(now[0])
        return layer(x)

    x = paddle.ones([2, 4, 5])
    x.stop_gradient = False
    with paddle.amp.auto_cast(dtype="bfloat16", level="O1"):
        y = recomputed(layer, function, x)
    y.sum().backward()
    assert seen == ["bfloat16 O1"] * 2 and now == ["float32"]


def test_a_retained_graph_is_recomputed_once_more() -> None:
    layer, x = Chain(), paddle.to_tensor(random_features(3, 4, 5), stop_gradient=False)
    total = recomputed(layer, layer, x).sum()
    total.backward(retain_graph=True)
    once = x.grad.numpy().copy()
    total.backward()
    assert layer.calls == 3
    np.testing.assert_array_equal(x.grad.numpy(), 2 * once)
