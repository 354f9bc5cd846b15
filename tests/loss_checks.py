"""Shared by the losses' tests: the plain definitions in float64, and gradients by finite
differences."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import paddle
from hypothesis import strategies as st

from vprtrain.losses import SpeakerLoss

SEEDS = st.integers(0, 2**32 - 1)
SCALES = st.floats(1, 96)
MARGINS = st.floats(0, 0.6)
SMOOTHING = st.sampled_from([0.0, 0.1])


def draw(seed: int, batch: int, columns: int, classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Cosines ``[batch, columns]``, exact in float32, and labels."""
    rng = np.random.default_rng(seed)
    return rng.uniform(-0.999, 0.999, (batch, columns)).astype("float32"), rng.integers(
        0, classes, batch
    )


def turned(cosine: float, angle: float) -> float:
    """cos(theta + angle), with the AAM losses' continuation above pi."""
    theta = math.acos(cosine)
    return (
        math.cos(theta + angle)
        if theta + angle < math.pi
        else cosine - 1 - math.cos(math.pi - angle)
    )


def cross_entropy(logits: np.ndarray, labels: np.ndarray, smoothing: float = 0.0) -> float:
    """The mean over rows of -sum(target * log softmax)."""
    targets = np.full(logits.shape, smoothing / logits.shape[1])
    targets[np.arange(len(labels)), labels] += 1 - smoothing
    shifted = logits - logits.max(1, keepdims=True)
    return float(
        -(targets * (shifted - np.log(np.exp(shifted).sum(1, keepdims=True)))).sum(1).mean()
    )


def value(loss: SpeakerLoss, scores: np.ndarray, labels: np.ndarray) -> float:
    result = loss(paddle.to_tensor(scores.astype("float32")), paddle.to_tensor(labels))
    assert result.shape == [] and result.dtype == paddle.float32
    return result.item()


def gradient(loss: SpeakerLoss, scores: np.ndarray, labels: np.ndarray) -> np.ndarray:
    tensor = paddle.to_tensor(scores.astype("float32"), stop_gradient=False)
    loss(tensor, paddle.to_tensor(labels)).backward()
    return tensor.grad.numpy()


def numerical_gradient(
    formula: Callable[[np.ndarray], float], values: np.ndarray, step: float = 1e-6
) -> np.ndarray:
    """Central differences of a function of a float64 array."""
    result = np.zeros_like(values, dtype="float64")
    for at in np.ndindex(values.shape):
        moved = np.zeros_like(result)
        moved[at] = step
        result[at] = (formula(values + moved) - formula(values - moved)) / (2 * step)
    return result
