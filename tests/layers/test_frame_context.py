"""Layers over frames: what they compute, and that padding has no influence."""

from __future__ import annotations

import numpy as np
import paddle
import paddle.nn.functional as F
import pytest

from vprtrain.layers.frame_context import (
    ChannelNorm,
    ConvNeXtBlock,
    SelfAttention,
    TimeContext,
    gelu_by_tanh,
)


def sequences(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal(shape).astype("float32")


def test_gelu_by_tanh_is_paddles_approximation() -> None:
    x = paddle.linspace(-6, 6, 100)
    expected = F.gelu(x, approximate=True).numpy()
    np.testing.assert_allclose(gelu_by_tanh(x).numpy(), expected, atol=1e-6)


@pytest.mark.parametrize("shape", [(2, 6, 9), (2, 6, 4, 9)])
def test_channel_norm_is_over_the_channels_of_each_position(shape: tuple[int, ...]) -> None:
    x = 3 * sequences(*shape) + 1
    expected = (x - x.mean(1, keepdims=True)) / np.sqrt(x.var(1, keepdims=True) + 1e-6)
    ours = ChannelNorm(6)(paddle.to_tensor(x)).numpy()
    np.testing.assert_allclose(ours, expected, atol=1e-5)


def test_self_attention_of_one_head_is_the_formula() -> None:
    layer, x = SelfAttention(4, heads=1), sequences(1, 7, 4)
    query, key, value, output = (
        (part.weight.numpy(), part.bias.numpy())
        for part in (layer.query, layer.key, layer.value, layer.output)
    )
    scores = (x[0] @ query[0] + query[1]) @ (x[0] @ key[0] + key[1]).T / 2
    weights = np.exp(scores) / np.exp(scores).sum(1, keepdims=True)
    expected = weights @ (x[0] @ value[0] + value[1]) @ output[0] + output[1]
    np.testing.assert_allclose(layer(paddle.to_tensor(x), None).numpy()[0], expected, atol=1e-5)


@pytest.mark.parametrize("behind", [0.0, 1e4])
def test_padding_has_no_influence(behind: float) -> None:
    layers = [
        ConvNeXtBlock(8, kernel_size=5, groups=2, image=False),
        TimeContext(8, 4, kernel_sizes=(3, 7), heads=2),
    ]
    x = sequences(1, 8, 11)
    padded = np.concatenate([x, np.full((1, 8, 5), behind, "float32")], axis=2)
    for layer in layers:
        layer.eval()
        alone = layer(paddle.to_tensor(x), None).numpy()
        together = layer(paddle.to_tensor(padded), paddle.to_tensor([11], dtype="int64")).numpy()
        np.testing.assert_allclose(together[:, :, :11], alone, atol=1e-5)
