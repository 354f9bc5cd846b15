"""The poolings against NumPy, with and without lengths."""

from __future__ import annotations

import numpy as np
import paddle
import pytest

from vprtrain.models.pooling import AttentiveStatisticsPooling, StatisticsPooling


def frames(channels: int, *, offset: float = 0.0) -> np.ndarray:
    return (np.random.default_rng(0).standard_normal((2, channels, 9)) + offset).astype("float32")


@pytest.mark.parametrize("offset", [0.0, 100.0])
@pytest.mark.parametrize("lengths", [None, [9, 5]])
def test_statistics(offset: float, lengths: list[int] | None) -> None:
    x = frames(3, offset=offset)
    pooling = StatisticsPooling(3)
    pooled = pooling(paddle.to_tensor(x), None if lengths is None else paddle.to_tensor(lengths)).numpy()
    assert pooled.shape == (2, pooling.output_size) == (2, 6)
    for row, length in enumerate(lengths or [9, 9]):
        real = x[row, :, :length].astype("float64")
        expected = np.concatenate([real.mean(1), np.sqrt(real.var(1, ddof=1) + 1e-8)])
        np.testing.assert_allclose(pooled[row], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("lengths", [None, [9, 5]])
def test_even_attention_gives_plain_statistics(lengths: list[int] | None) -> None:
    x = frames(3, offset=2.0)
    pooling = AttentiveStatisticsPooling(3, attention_channels=4)
    pooling.eval()
    pooling.conv.weight.set_value(paddle.zeros_like(pooling.conv.weight))
    pooled = pooling(paddle.to_tensor(x), None if lengths is None else paddle.to_tensor(lengths)).numpy()
    assert pooled.shape == (2, pooling.output_size) == (2, 6)
    for row, length in enumerate(lengths or [9, 9]):
        real = x[row, :, :length].astype("float64")
        np.testing.assert_allclose(pooled[row], [*real.mean(1), *real.std(1)], rtol=1e-4, atol=1e-5)


def test_attention_on_one_frame_gives_that_frame() -> None:
    x = frames(2)
    x[:, :, 4] += 30.0
    pooling = AttentiveStatisticsPooling(2, attention_channels=1)
    pooling.eval()
    for parameter, value in (
        (pooling.tdnn.conv.weight, [[[1.0], [0.0], [0.0], [0.0], [0.0], [0.0]]]),
        (pooling.tdnn.conv.bias, [-10.0]),
        (pooling.conv.weight, [[[200.0]], [[200.0]]]),
    ):
        parameter.set_value(paddle.to_tensor(value))
    pooled = pooling(paddle.to_tensor(x)).numpy()
    np.testing.assert_allclose(pooled[:, :2], x[:, :, 4], rtol=1e-4)
    np.testing.assert_allclose(pooled[:, 2:], 0, atol=2e-2)


@pytest.mark.parametrize("pooling", [StatisticsPooling, AttentiveStatisticsPooling])
@pytest.mark.parametrize("lengths", [None, [9, 1]])
def test_a_constant_channel_has_a_finite_gradient(pooling: type[paddle.nn.Layer], lengths: list[int] | None) -> None:
    x = paddle.ones([2, 3, 9])
    x.stop_gradient = False
    pooling(3)(x, None if lengths is None else paddle.to_tensor(lengths)).sum().backward()
    assert paddle.isfinite(x.grad).all().item()


@pytest.mark.parametrize("lengths", [None, [9, 5]])
def test_statistics_of_low_precision_frames_are_float32(lengths: list[int] | None) -> None:
    x = paddle.to_tensor(frames(3, offset=100.0)).astype("float16")
    given = None if lengths is None else paddle.to_tensor(lengths)
    pooled = StatisticsPooling(3)(x, given)
    assert pooled.dtype == paddle.float32
    np.testing.assert_array_equal(pooled.numpy(), StatisticsPooling(3)(x.astype("float32"), given).numpy())
