"""Convolutions by oneDNN beside Paddle's."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import paddle
import paddle.nn.functional as F
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vprtrain.layers import Conv2D, convolution, onednn
from vprtrain.layers.convolution import conv1d, conv2d
from vprtrain.models.recompute import recomputed

PLAIN = ([1, 1], 1, [1, 1], 1)
"""Stride, padding, dilation, groups."""


@pytest.fixture
def taken(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Whether oneDNN computed each convolution so far."""
    found: list[bool] = []
    decide = convolution._passes

    def spy(*args: object) -> object:
        passes = decide(*args)
        found.append(passes is not None)
        return passes

    monkeypatch.setattr(convolution, "_passes", spy)
    return found


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


def assert_alike(
    ours: Iterable[np.ndarray], paddles: Iterable[np.ndarray], bound: float = 1e-5
) -> None:
    """Up to the rounding of sums of numbers around 1, which may cancel."""
    for our, paddle_s in zip(ours, paddles, strict=True):
        largest = max(1.0, np.abs(paddle_s).max())
        np.testing.assert_allclose(our, paddle_s, rtol=0, atol=bound * largest)


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
    assert_alike(ours, paddles, 1e-5 if dtype == "float32" else 0.0)


@settings(max_examples=30, deadline=None)
@given(
    channels=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    frames=st.integers(12, 30),
    kernel=st.integers(1, 3),
    stride=st.integers(1, 2),
    padding=st.integers(0, 3),
    dilation=st.integers(1, 4),
)
def test_one_axis(channels, frames, kernel, stride, padding, dilation) -> None:
    x, weight = trained([3, channels[0], frames]), trained([*channels[::-1], kernel], seed=1)
    bias = trained([channels[1]], seed=2)
    options = ([stride], padding, [dilation], 1)
    ours = gradients(conv1d, x, weight, bias, options)
    paddles = gradients(F.conv1d, x, weight, bias, options)
    assert_alike(ours, paddles)


@pytest.mark.parametrize("channels", [(1, 32), (32, 32), (48, 16)])
@pytest.mark.parametrize("kernel", [1, 3])
def test_blocks_of_channels(taken, channels, kernel) -> None:
    inputs, outputs = channels
    x, weight = trained([2, inputs, 20, 31]), trained([outputs, inputs, kernel, kernel], seed=1)
    bias = trained([outputs], seed=2)
    options = ([1, 1], kernel // 2, [1, 1], 1)
    ours = gradients(conv2d, x, weight, bias, options)
    paddles = gradients(F.conv2d, x, weight, bias, options)
    assert taken == [True]
    assert_alike(ours, paddles)


def test_a_view_that_is_not_contiguous(taken) -> None:
    x, weight = trained([2, 8, 12, 4]), trained([8, 4, 3, 3], seed=1)
    views = x.transpose([0, 3, 1, 2]), weight
    upstream = paddle.to_tensor(np.random.default_rng(2).standard_normal([2, 8, 12, 8])).astype(
        "float32"
    )

    def found(function) -> list[np.ndarray]:
        y = function(*views, None, *PLAIN).transpose([0, 2, 3, 1])
        return [y.numpy(), *(each.numpy() for each in paddle.grad(y, [x, weight], upstream))]

    assert_alike(found(conv2d), found(F.conv2d))
    assert taken == [True]


def test_a_build_of_paddle_without_onednn(monkeypatch: pytest.MonkeyPatch, taken) -> None:
    monkeypatch.setattr(onednn, "_library", lambda: None)
    onednn.convolution.cache_clear()
    x, weight = trained([2, 4, 8, 8]), trained([4, 4, 3, 3], seed=1)
    np.testing.assert_array_equal(
        conv2d(x, weight, None, *PLAIN).numpy(), F.conv2d(x, weight, None, padding=1).numpy()
    )
    assert taken == [False]
    onednn.convolution.cache_clear()


@pytest.mark.parametrize("dtype", ["float64", "float16"])
def test_the_default_type_of_new_tensors_changes_nothing(taken, dtype: str) -> None:
    x, weight = trained([2, 4, 8, 8]), trained([4, 4, 3, 3], seed=1)
    expected = paddle.grad(y := conv2d(x, weight, None, *PLAIN), [x, weight]), y
    paddle.set_default_dtype(dtype)
    try:
        found = paddle.grad(y := conv2d(x, weight, None, *PLAIN), [x, weight]), y
    finally:
        paddle.set_default_dtype("float32")
    assert taken == [True, True]
    for our, before in zip([*found[0], found[1]], [*expected[0], expected[1]], strict=True):
        assert our.dtype == paddle.float32
        np.testing.assert_array_equal(our.numpy(), before.numpy())


@pytest.mark.parametrize(
    "source, weight, options",
    [
        ([2, 3, 8, 8], [4, 4, 3, 3], PLAIN),
        ([2, 3, 8], [4, 3, 3, 3], PLAIN),
        ([2, 6, 8, 8], [4, 2, 3, 3], ([1, 1], 1, [1, 1], 3)),
        ([2, 4, 8, 8], [4, 4, 3, 3], ([0, 1], 1, [1, 1], 1)),
        ([2, 4, 8, 8], [4, 4, 3, 3], ([1, 1], -1, [1, 1], 1)),
    ],
    ids=["channels", "axes", "groups", "stride", "padding"],
)
def test_what_does_not_fit_has_the_error_of_paddle(source, weight, options) -> None:
    def message(function: object) -> str:
        with pytest.raises(ValueError) as caught:
            function(trained(source), trained(weight), None, *options)
        return str(caught.value)

    assert message(conv2d) == message(F.conv2d)


@pytest.mark.parametrize("changed", ["x", "weight"])
def test_an_input_that_was_changed_has_no_gradient(taken, changed: str) -> None:
    tensors = {"x": trained([2, 4, 8, 8]) * 1, "weight": trained([4, 4, 3, 3], seed=1) * 1}
    y = conv2d(tensors["x"], tensors["weight"], None, *PLAIN)
    tensors[changed].scale_(2.0)
    with pytest.raises(OSError, match="changed in place before its gradient"):
        y.sum().backward()
    assert taken == [True]


def test_only_an_input_that_needs_a_gradient_has_one(taken) -> None:
    x, weight = trained([2, 4, 8, 8]), trained([4, 4, 3, 3])
    conv2d(x.detach(), weight, None, *PLAIN).sum().backward()
    assert x.grad is None
    assert weight.grad is not None


def test_without_a_graph_it_is_paddle_s_own(taken) -> None:
    x, weight = trained([2, 4, 8, 8]), trained([4, 4, 3, 3])
    with paddle.no_grad():
        assert conv2d(x, weight, None, *PLAIN).stop_gradient
    assert conv2d(x.detach(), weight.detach(), None, *PLAIN).stop_gradient
    assert taken == [False, False]


def test_a_frozen_weight_passes_the_gradient_on(taken) -> None:
    x, weight = trained([2, 4, 8, 8]), trained([4, 4, 3, 3], seed=1).detach()
    (found,) = paddle.grad(conv2d(x, weight, None, *PLAIN).square().sum(), [x])
    (expected,) = paddle.grad(F.conv2d(x, weight, None, *PLAIN).square().sum(), [x])
    assert taken == [True]
    np.testing.assert_allclose(found.numpy(), expected.numpy(), rtol=1e-4, atol=1e-4)


def fast_layer() -> Conv2D:
    layer = Conv2D(4, 4, 3, padding=1)
    layer.fast = True
    return layer


def gradients_of_two_uses(layer: paddle.nn.Conv2D) -> list[np.ndarray]:
    x = trained([2, 4, 8, 8])
    layer(F.relu_(layer(x))).square().sum().backward()
    return [value.grad.numpy() for value in (x, layer.weight, layer.bias)]


def test_a_layer_that_is_used_twice(taken) -> None:
    layer, plain = fast_layer(), paddle.nn.Conv2D(4, 4, 3, padding=1)
    plain.set_state_dict(layer.state_dict())
    found = zip(gradients_of_two_uses(layer), gradients_of_two_uses(plain), strict=True)
    assert taken == [True, True]
    for our, paddle_s in found:
        np.testing.assert_allclose(our, paddle_s, rtol=1e-4, atol=1e-4)


def test_by_default_a_layer_has_the_bits_of_paddle(taken) -> None:
    layer, plain = Conv2D(4, 4, 3, padding=1), paddle.nn.Conv2D(4, 4, 3, padding=1)
    plain.set_state_dict(layer.state_dict())
    found = zip(gradients_of_two_uses(layer), gradients_of_two_uses(plain), strict=True)
    assert taken == []
    for our, paddle_s in found:
        np.testing.assert_array_equal(our, paddle_s)


def test_recomputation_gives_the_same_bits(taken) -> None:
    layer = fast_layer()

    def twice(x: paddle.Tensor) -> paddle.Tensor:
        return layer(F.relu(layer(x)))

    x = trained([2, 4, 8, 8])
    inputs = [x, layer.weight, layer.bias]
    kept = paddle.grad(twice(x).square().sum(), inputs)
    again = paddle.grad(recomputed(layer, twice, x).square().sum(), inputs)
    assert taken == [True] * 6
    for one, other in zip(kept, again, strict=True):
        np.testing.assert_array_equal(one.numpy(), other.numpy())


def test_an_exported_graph_has_the_plain_convolution(tmp_path: Path) -> None:
    layer = fast_layer()
    spec = paddle.static.InputSpec([None, 4, None, None], "float32")
    graph = paddle.jit.to_static(layer, input_spec=[spec], full_graph=True)
    names = [op.name() for op in graph.forward.concrete_program.main_program.global_block().ops]
    assert names.count("pd_op.conv2d") == 1
    assert not [name for name in names if "py_layer" in name]
