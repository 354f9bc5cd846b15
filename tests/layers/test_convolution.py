"""The convolution's own backward pass beside Paddle's."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import paddle
import paddle.nn.functional as F
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vprtrain.layers import Conv2D, convolution
from vprtrain.layers.convolution import conv2d
from vprtrain.models.recompute import recomputed

PLAIN = ([1, 1], 1, [1, 1], 1)
"""Stride, padding, dilation, groups."""


@pytest.fixture
def flips(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Whether each convolution so far took the own backward pass."""
    taken: list[bool] = []
    decide = convolution._flips_weight

    def spy(*args: object) -> bool:
        taken.append(decide(*args))
        return taken[-1]

    monkeypatch.setattr(convolution, "_flips_weight", spy)
    return taken


def trained(shape: list[int], *, dtype: str = "float32", seed: int = 0) -> paddle.Tensor:
    values = np.random.default_rng(seed).standard_normal(shape).astype(dtype)
    return paddle.to_tensor(values, stop_gradient=False)


def gradients(
    function: object, x: paddle.Tensor, weight: paddle.Tensor, bias: paddle.Tensor, options: tuple
) -> list[np.ndarray]:
    y = function(x, weight, bias, *options)
    upstream = paddle.to_tensor(
        np.random.default_rng(9).standard_normal(y.shape).astype(x.numpy().dtype)
    )
    return [y.numpy(), *(each.numpy() for each in paddle.grad(y, [x, weight, bias], upstream))]


@settings(max_examples=60, deadline=None)
@given(
    batch=st.integers(1, 3),
    channels=st.tuples(st.integers(1, 5), st.integers(1, 5)),
    size=st.tuples(st.integers(7, 12), st.integers(7, 12)),
    kernel=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    stride=st.sampled_from([[1, 1], [2, 1], [1, 2]]),
    padding=st.integers(0, 3),
    dilation=st.sampled_from([[1, 1], [2, 1], [3, 2]]),
    grouped=st.booleans(),
    dtype=st.sampled_from(["float32", "float64"]),
)
def test_gradients_are_those_of_paddle(
    batch, channels, size, kernel, stride, padding, dilation, grouped, dtype
) -> None:
    inputs, outputs = channels
    groups = inputs if grouped else 1
    x = trained([batch, inputs, *size], dtype=dtype)
    weight = trained([outputs * groups, inputs // groups, *kernel], dtype=dtype, seed=1)
    bias = trained([outputs * groups], dtype=dtype, seed=2)
    options = (stride, padding, dilation, groups)
    ours = gradients(conv2d, x, weight, bias, options)
    paddles = gradients(F.conv2d, x, weight, bias, options)
    np.testing.assert_array_equal(ours[0], paddles[0])
    bound = 1e-5 if dtype == "float32" else 1e-13
    for our, paddle_s in zip(ours[1:], paddles[1:], strict=True):
        np.testing.assert_allclose(our, paddle_s, rtol=0, atol=bound * np.abs(paddle_s).max())


@pytest.mark.parametrize(
    ("inputs", "outputs", "size", "kernel", "options", "expected"),
    [
        (8, 8, 16, 3, PLAIN, True),
        (8, 16, 32, 1, ([1, 1], 0, [1, 1], 1), True),
        (8, 8, 16, 3, ([1, 1], 2, [2, 2], 1), True),
        (8, 16, 32, 3, PLAIN, False),  # more columns to copy than before
        (8, 8, 11, 3, PLAIN, False),  # too few positions for flipping the weight
        (8, 8, 16, 3, ([1, 2], 1, [1, 1], 1), False),
        (8, 8, 16, 3, ([1, 1], 1, [1, 1], 8), False),
        (8, 8, 16, 3, ([1, 1], 3, [1, 1], 1), False),
    ],
)
def test_the_shape_decides(flips, inputs, outputs, size, kernel, options, expected) -> None:
    weight = trained([outputs, inputs // options[-1], kernel, kernel])
    conv2d(trained([1, inputs, size, size]), weight, None, *options)
    assert flips == [expected]


def test_only_an_input_that_needs_a_gradient_has_one(flips) -> None:
    x, weight = trained([2, 4, 8, 8]), trained([4, 4, 3, 3])
    conv2d(x.detach(), weight, None, *PLAIN).sum().backward()
    assert flips == [False]
    assert x.grad is None
    with paddle.no_grad():
        assert conv2d(x, weight, None, *PLAIN).stop_gradient
    assert flips == [False, False]


def test_a_frozen_weight_passes_the_gradient_on(flips) -> None:
    x, weight = trained([2, 4, 8, 8]), trained([4, 4, 3, 3], seed=1).detach()
    (found,) = paddle.grad(conv2d(x, weight, None, *PLAIN).square().sum(), [x])
    (expected,) = paddle.grad(F.conv2d(x, weight, None, *PLAIN).square().sum(), [x])
    assert flips == [True]
    np.testing.assert_allclose(found.numpy(), expected.numpy(), rtol=1e-4, atol=1e-4)


def fast_layer() -> Conv2D:
    layer = Conv2D(4, 4, 3, padding=1)
    layer.fast_backward = True
    return layer


def gradients_of_two_uses(layer: paddle.nn.Conv2D) -> list[np.ndarray]:
    x = trained([2, 4, 8, 8])
    layer(F.relu_(layer(x))).square().sum().backward()
    return [value.grad.numpy() for value in (x, layer.weight, layer.bias)]


def test_a_layer_that_is_used_twice(flips) -> None:
    layer, plain = fast_layer(), paddle.nn.Conv2D(4, 4, 3, padding=1)
    plain.set_state_dict(layer.state_dict())
    found = zip(gradients_of_two_uses(layer), gradients_of_two_uses(plain), strict=True)
    assert flips == [True, True]
    for our, paddle_s in found:
        np.testing.assert_allclose(our, paddle_s, rtol=1e-4, atol=1e-4)


def test_by_default_a_layer_has_the_bits_of_paddle(flips) -> None:
    layer, plain = Conv2D(4, 4, 3, padding=1), paddle.nn.Conv2D(4, 4, 3, padding=1)
    plain.set_state_dict(layer.state_dict())
    found = zip(gradients_of_two_uses(layer), gradients_of_two_uses(plain), strict=True)
    assert flips == []
    for our, paddle_s in found:
        np.testing.assert_array_equal(our, paddle_s)


def test_recomputation_gives_the_same_bits(flips) -> None:
    layer = fast_layer()

    def twice(x: paddle.Tensor) -> paddle.Tensor:
        return layer(F.relu(layer(x)))

    x = trained([2, 4, 8, 8])
    inputs = [x, layer.weight, layer.bias]
    kept = paddle.grad(twice(x).square().sum(), inputs)
    again = paddle.grad(recomputed(layer, twice, x).square().sum(), inputs)
    assert flips == [True] * 6
    for one, other in zip(kept, again, strict=True):
        np.testing.assert_array_equal(one.numpy(), other.numpy())


def test_an_exported_graph_has_the_plain_convolution(tmp_path: Path) -> None:
    layer = fast_layer()
    spec = paddle.static.InputSpec([None, 4, None, None], "float32")
    graph = paddle.jit.to_static(layer, input_spec=[spec], full_graph=True)
    names = [op.name() for op in graph.forward.concrete_program.main_program.global_block().ops]
    assert names.count("pd_op.conv2d") == 1
    assert not [name for name in names if "py_layer" in name or "flip" in name]
