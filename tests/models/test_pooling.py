"""The poolings against their formulas in NumPy float64, with and without lengths."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, get_args

import numpy as np
import paddle
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vprtrain.errors import UsageError
from vprtrain.models.attentive_pooling import AttentiveStatisticsPooling, MultiQueryMultiHeadPooling
from vprtrain.models.pooling import PoolingName, build_pooling

POOLINGS = get_args(PoolingName)
CHANNELS = 12

Weights = dict[str, np.ndarray]


def tap(x: np.ndarray, weights: Weights) -> np.ndarray:
    return x.mean(1)


def tsp(x: np.ndarray, weights: Weights) -> np.ndarray:
    return np.concatenate([x.mean(1), np.sqrt(np.maximum(x.var(1), 1e-10))])


def tsvp(x: np.ndarray, weights: Weights) -> np.ndarray:
    return np.concatenate([x.mean(1), x.var(1, ddof=1)])


def tstp(x: np.ndarray, weights: Weights) -> np.ndarray:
    return np.concatenate([x.mean(1), np.sqrt(x.var(1, ddof=1) + 1e-8)])


def sap(x: np.ndarray, weights: Weights) -> np.ndarray:
    scores = conv1(np.tanh(conv1(x, weights, "linear1")), weights, "linear2")
    return (softmax(scores) * x).sum(1)


def asp(x: np.ndarray, weights: Weights) -> np.ndarray:
    statistics = np.concatenate([x.mean(1), np.sqrt(np.maximum(x.var(1), 1e-12))])
    context = np.repeat(statistics[:, None], x.shape[1], axis=1)
    hidden = tdnn(np.concatenate([x, context]), weights)
    attention = softmax(conv1(np.tanh(hidden), weights, "conv"))
    return np.concatenate(weighted_statistics(x, attention, 1e-12))


def tsdp(x: np.ndarray, weights: Weights) -> np.ndarray:
    return tstp(x, weights)[len(x) :]


def astp(x: np.ndarray, weights: Weights) -> np.ndarray:
    """WeSpeaker's; with a global context if the first layer is three times as wide."""
    if weights["linear1.weight"].shape[1] == 3 * len(x):
        statistics = np.concatenate([x.mean(1), np.sqrt(x.var(1, ddof=1) + 1e-7)])
        seen = np.concatenate([x, np.repeat(statistics[:, None], x.shape[1], axis=1)])
    else:
        seen = x
    scores = conv1(np.tanh(conv1(seen, weights, "linear1")), weights, "linear2")
    return np.concatenate(weighted_statistics(x, softmax(scores), 1e-7))


def lasp(x: np.ndarray, weights: Weights) -> np.ndarray:
    return np.concatenate(
        weighted_statistics(x, softmax(conv1(tdnn(x, weights), weights, "conv")), 1e-5)
    )


def xi(x: np.ndarray, weights: Weights) -> np.ndarray:
    """The posterior mean of a Gaussian whose prior counts as one frame more."""
    log_precision = 2 * np.log(np.logaddexp(0, conv1(tdnn(x, weights), weights, "conv")))
    prior = weights["prior_log_precision"].T
    attention = softmax(np.concatenate([np.clip(log_precision, -15, 15), prior], axis=1))
    return (attention * np.concatenate([x, weights["prior_mean"].T], axis=1)).sum(1)


def mqmha(x: np.ndarray, weights: Weights) -> np.ndarray:
    """WeSpeaker's loops over queries and heads, here 2 and gcd(8, CHANNELS) = 4."""
    pooled: list[np.ndarray] = []
    for query in range(2):
        for head, part in enumerate(np.split(x, 4)):
            own = {key: np.split(value, 4)[head] for key, value in weights.items()}
            hidden = np.tanh(conv1(part, own, f"queries.{query}.0"))
            attention = softmax(conv1(hidden, own, f"queries.{query}.2"))
            pooled.extend(weighted_statistics(part, attention, 1e-7))
    return np.concatenate(pooled)


NORM = ("_mean", "_variance", "weight", "bias")
FORMULAS: dict[str, Callable[[np.ndarray, Weights], np.ndarray]] = {
    "ASP": asp,
    "ASTP": astp,
    "LASP": lasp,
    "SAP": sap,
    "TSP": tsp,
    "TSVP": tsvp,
    "TAP": tap,
    "TSDP": tsdp,
    "TSTP": tstp,
    "MQMHA": mqmha,
    "XI": xi,
}


def conv1(x: np.ndarray, weights: Weights, name: str) -> np.ndarray:
    return weights[f"{name}.weight"][:, :, 0] @ x + weights[f"{name}.bias"][:, None]


def tdnn(x: np.ndarray, weights: Weights) -> np.ndarray:
    hidden = np.maximum(conv1(x, weights, "tdnn.conv"), 0)
    mean, variance, scale, shift = (weights[f"tdnn.norm.{part}"][:, None] for part in NORM)
    normed: np.ndarray = (hidden - mean) / np.sqrt(variance + 1e-5) * scale + shift
    return normed


def softmax(scores: np.ndarray) -> np.ndarray:
    exponentials = np.exp(scores - scores.max(1, keepdims=True))
    return exponentials / exponentials.sum(1, keepdims=True)


def weighted_statistics(
    x: np.ndarray, attention: np.ndarray, eps: float
) -> tuple[np.ndarray, np.ndarray]:
    mean = (attention * x).sum(1)
    variance = (attention * (x - mean[:, None]) ** 2).sum(1)
    return mean, np.sqrt(np.maximum(variance, eps))


def made(name: PoolingName, **options: bool) -> paddle.nn.Layer:
    """A pooling in evaluation mode, with weights large enough for an uneven attention."""
    pooling = build_pooling(name, CHANNELS, attention_channels=5, **options)
    rng = np.random.default_rng(len(name))
    for key, value in pooling.state_dict().items():
        positive = key.endswith(("_variance", "norm.weight"))
        drawn = rng.uniform(0.5, 1.5, value.shape) if positive else rng.normal(0, 0.5, value.shape)
        value.set_value(drawn.astype("float32"))
    pooling.eval()
    return pooling


def int64(lengths: list[int] | None) -> paddle.Tensor | None:
    return None if lengths is None else paddle.to_tensor(lengths, dtype="int64")


def frames(count: int, *, offset: float = 0.0, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((CHANNELS, count)) + offset


def test_every_pooling_has_a_formula_here() -> None:
    assert set(FORMULAS) == set(POOLINGS)


@pytest.mark.parametrize("name", POOLINGS)
@settings(max_examples=15, deadline=None)
@given(
    lengths=st.lists(st.integers(2, 40), min_size=1, max_size=3),
    padding=st.integers(0, 9),
    behind=st.sampled_from([0.0, -3.0, 1e4]),
    offset=st.sampled_from([0.0, -2.0, 100.0]),
)
def test_pooled_is_the_formula_over_real_frames(
    name: PoolingName, lengths: list[int], padding: int, behind: float, offset: float
) -> None:
    pooling = made(name)
    weights = {key: value.numpy().astype("float64") for key, value in pooling.state_dict().items()}
    batch = np.full((len(lengths), CHANNELS, max(lengths) + padding), behind, "float32")
    for row, length in enumerate(lengths):
        batch[row, :, :length] = frames(length, offset=offset, seed=row)
    pooled = pooling(paddle.to_tensor(batch), int64(lengths)).numpy()
    assert pooled.dtype == np.float32 and pooled.shape == (len(lengths), pooling.output_size)
    for row, length in enumerate(lengths):
        real = batch[row, :, :length].astype("float64")
        np.testing.assert_allclose(pooled[row], FORMULAS[name](real, weights), rtol=1e-4, atol=1e-4)
        alone = pooling(paddle.to_tensor(batch[row : row + 1, :, :length])).numpy()[0]
        np.testing.assert_allclose(pooled[row], alone, rtol=1e-5, atol=1e-5)


def test_attention_may_see_the_whole_utterance_in_each_frame() -> None:
    pooling = made("ASTP", global_context=True)
    weights = {key: value.numpy().astype("float64") for key, value in pooling.state_dict().items()}
    assert weights["linear1.weight"].shape == (5, 3 * CHANNELS, 1)
    x = np.stack([frames(9), frames(9, seed=1)])
    pooled = pooling(paddle.to_tensor(x.astype("float32")), int64([9, 5])).numpy()
    for row, length in enumerate((9, 5)):
        expected = astp(x[row, :, :length], weights)
        np.testing.assert_allclose(pooled[row], expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", POOLINGS)
@pytest.mark.parametrize("lengths", [None, [9, 1]])
def test_a_constant_channel_has_a_finite_gradient(
    name: PoolingName, lengths: list[int] | None
) -> None:
    pooling = made(name)
    pooling.train()
    x = paddle.to_tensor(np.stack([frames(9), frames(9, seed=1)]).astype("float32"))
    x[:, :3] = 1.0
    x.stop_gradient = False
    pooling(x, int64(lengths)).sum().backward()
    for gradient in (x.grad, *(p.grad for p in pooling.parameters() if not p.stop_gradient)):
        assert gradient is not None and paddle.isfinite(gradient).all().item()


@pytest.mark.parametrize("name", POOLINGS)
def test_padding_gets_no_gradient(name: PoolingName) -> None:
    x = paddle.to_tensor(
        np.stack([frames(9), frames(9, seed=1)]).astype("float32"), stop_gradient=False
    )
    pooled = made(name)(x, int64([9, 5]))
    (pooled * paddle.arange(pooled.size).reshape(pooled.shape).astype("float32")).sum().backward()
    assert (x.grad[1, :, 5:] == 0).all().item()
    assert (x.grad[1, :, :5] != 0).all().item()


@pytest.mark.parametrize("name", POOLINGS)
@pytest.mark.parametrize("lengths", [None, [9, 5]])
def test_low_precision_frames_are_pooled_in_float32(
    name: PoolingName, lengths: list[int] | None
) -> None:
    x = paddle.to_tensor(np.stack([frames(9, offset=100.0), frames(9, seed=1)]).astype("float16"))
    pooling = made(name)
    pooled = pooling(x, int64(lengths))
    assert pooled.dtype == paddle.float32
    np.testing.assert_array_equal(
        pooled.numpy(), pooling(x.astype("float32"), int64(lengths)).numpy()
    )


def test_attention_on_one_frame_gives_that_frame() -> None:
    x = frames(9)[None, :2].astype("float32")
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


@pytest.mark.parametrize("name", ["ASP", "ASTP", "LASP", "TSP", "TSTP", "MQMHA"])
def test_eps_stands_under_the_root(name: PoolingName) -> None:
    pooling = build_pooling(name, CHANNELS, eps=0.25)
    pooled = pooling(paddle.ones([1, CHANNELS, 9])).numpy()
    means, deviations = np.sort(pooled[0]).reshape(2, -1)[::-1]
    np.testing.assert_allclose(means, 1, rtol=1e-6)
    np.testing.assert_allclose(deviations, 0.5, rtol=1e-6)


def test_each_pooling_takes_the_options_it_has_a_use_for() -> None:
    sizes: dict[str, Any] = {
        name: build_pooling(name, 24, eps=1e-3, attention_channels=3) for name in POOLINGS
    }
    assert sizes["SAP"].linear1.weight.shape == [3, 24, 1]
    assert sizes["ASP"].conv.weight.shape == [24, 3, 1]
    assert sizes["MQMHA"].queries[0][0].weight.shape == [8 * 3, 24 // 8, 1]
    assert {name: pooling.output_size for name, pooling in sizes.items()} == {
        **dict.fromkeys(("ASP", "ASTP", "LASP", "TSP", "TSVP", "TSTP"), 48),
        **dict.fromkeys(("SAP", "TAP", "TSDP", "XI"), 24),
        "MQMHA": 96,
    }


def test_an_unknown_pooling_is_refused() -> None:
    with pytest.raises(UsageError, match="'MAX' is not known: choose one of ASP, ASTP, LASP, SAP"):
        build_pooling("MAX", 8)  # type: ignore[arg-type]


def test_heads_must_divide_the_channels() -> None:
    with pytest.raises(UsageError, match="cannot split 12 channels in 5 heads"):
        MultiQueryMultiHeadPooling(12, heads=5)
    assert MultiQueryMultiHeadPooling(1500).heads == 4


@pytest.mark.parametrize("lengths", [[1, 9], [0, 9]])
@pytest.mark.parametrize("name", POOLINGS)
def test_a_length_without_a_deviation_stays_finite(name: PoolingName, lengths: list[int]) -> None:
    x = paddle.to_tensor(np.stack([frames(9), frames(9, seed=1)]).astype("float32"))
    assert paddle.isfinite(made(name)(x, int64(lengths))).all().item()
