"""The layers of the two-dimensional networks."""

from __future__ import annotations

import numpy as np
import paddle
import pytest
from paddle import nn
from small_encoders import random_features

from vprtrain.layers.blocks import Shortcut, clipped_relu, conv_norm, relu, strided_lengths


def conv_and_norm(*, bias: bool = True) -> tuple[nn.Conv2D, nn.BatchNorm2D]:
    rng = np.random.default_rng(0)
    conv, norm = (
        nn.Conv2D(3, 4, 3, stride=2, padding=1, bias_attr=bias),
        nn.BatchNorm2D(4, momentum=0.7),
    )
    for value in (*conv.parameters(), *norm.parameters()):
        value.set_value(rng.uniform(0.5, 1.5, value.shape).astype("float32"))
    return conv, norm


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("training", [True, False])
def test_a_bias_folded_into_the_normalisation_changes_nothing(training: bool, bias: bool) -> None:
    (conv, norm), (plain_conv, plain_norm) = conv_and_norm(bias=bias), conv_and_norm(bias=bias)
    for layer in (norm, plain_norm):
        layer.train() if training else layer.eval()
    for step in range(3):
        x = paddle.to_tensor(random_features(2, 3, 8, 9, seed=step))
        ours, theirs = conv_norm(x, conv, norm), plain_norm(plain_conv(x))
        np.testing.assert_allclose(ours.numpy(), theirs.numpy(), rtol=1e-5, atol=1e-5)
        for y in (ours, theirs):
            (y * y * y).sum().backward()
    for layer, plain in ((conv, plain_conv), (norm, plain_norm)):
        for value, other in zip(layer.parameters(), plain.parameters(), strict=True):
            np.testing.assert_allclose(value.numpy(), other.numpy(), rtol=1e-5, atol=1e-6)
            if not value.stop_gradient:
                np.testing.assert_allclose(
                    value.grad.numpy(), other.grad.numpy(), rtol=1e-4, atol=1e-3
                )


def test_a_folded_bias_can_be_used_twice_before_the_backward_pass() -> None:
    conv, norm = conv_and_norm()
    x = paddle.to_tensor(random_features(2, 3, 8, 9))
    (conv_norm(x, conv, norm) * conv_norm(2 * x, conv, norm)).sum().backward()
    assert conv.weight.grad.abs().max().item() > 0
    np.testing.assert_array_equal(conv.bias.grad.numpy(), np.zeros(4))


@pytest.mark.parametrize("stride", [1, 2, 3])
def test_strided_lengths_are_those_of_the_geometry(stride: int) -> None:
    frames = list(range(1, 20))
    real = [
        nn.Conv2D(1, 1, 3, stride=stride, padding=1)(paddle.zeros([1, 1, 3, n])).shape[-1]
        for n in frames
    ]
    assert strided_lengths(paddle.to_tensor(frames), stride).tolist() == real
    assert [
        nn.Conv2D(1, 1, 1, stride=stride)(paddle.zeros([1, 1, 3, n])).shape[-1] for n in frames
    ] == real
    assert strided_lengths(None, stride) is None


def test_a_shortcut_that_keeps_the_shape_is_the_input() -> None:
    x = paddle.to_tensor(random_features(2, 4, 5, 6))
    assert Shortcut(4, 4, stride=(1, 1))(x) is x
    assert Shortcut(4, 4, stride=(2, 1))(x).shape == [2, 4, 3, 6]
    assert Shortcut(4, 8, stride=(1, 1), bias=True)(x).shape == [2, 8, 5, 6]


def test_clipped_relu() -> None:
    x = paddle.to_tensor([-1.0, 0.5, 19.0, 21.0], stop_gradient=False)
    y = clipped_relu(x)
    y.sum().backward()
    assert y.tolist() == [0.0, 0.5, 19.0, 20.0]
    assert x.grad.tolist() == [0.0, 1.0, 1.0, 0.0]


@pytest.mark.parametrize("layer", ["convolution", "normalisation", "sum"])
def test_relu_in_place_gives_the_same_values_and_gradients(layer: str) -> None:
    conv, norm = conv_and_norm()
    before_relu = {"convolution": conv, "normalisation": norm, "sum": lambda x: x + norm(x)}[layer]
    results = []
    for activation in (paddle.nn.functional.relu, relu):
        x = paddle.to_tensor(
            random_features(2, 3, 8, 9) if layer == "convolution" else random_features(2, 4, 8, 9)
        )
        x.stop_gradient = False
        y = before_relu(x)
        z = activation(y)
        paddle.square(z).sum().backward()
        results.append([z.numpy(), x.grad.numpy()])
    np.testing.assert_array_equal(y.numpy(), z.numpy())  # it was in place
    for plain, ours in zip(*results, strict=True):
        np.testing.assert_array_equal(ours, plain)
