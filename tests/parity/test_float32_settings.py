"""Settings that Paddle's kernels hold in float32 although weights and sums are float64. The figures
of ``trajectory_figures.py`` rest on it."""

from __future__ import annotations

import numpy as np
import paddle
import pytest

from vprtrain.engine import Adam, AdamW, Momentum, OptimizerFactory

RATE, MOMENTUM, DECAY, EPSILON = 0.0123, 0.9, 1e-4, 1e-5
GRADIENTS = (0.3, 0.11, -0.2)
INITIAL = 0.7
EXACT = 1e-15


def in_float32(value: float) -> float:
    return float(np.float32(value))


def updated(factory: OptimizerFactory) -> float:
    """A float64 weight after updates with the gradients."""
    weight = paddle.create_parameter([1], "float64")
    weight.set_value(np.array([INITIAL]))
    optimizer = factory.build([weight])
    for gradient in GRADIENTS:
        (weight * gradient).sum().backward()
        optimizer.step()
        optimizer.clear_grad()
    return weight.item()


def with_momentum(momentum: float, decay: float) -> float:
    """PyTorch's formula of SGD with Nesterov's momentum."""
    weight, velocity = INITIAL, 0.0
    for gradient in GRADIENTS:
        change = gradient + decay * weight
        velocity = momentum * velocity + change
        weight -= RATE * (change + momentum * velocity)
    return weight


def with_adam(coupled: float, decoupled: float) -> float:
    """PyTorch's formulas of Adam and AdamW."""
    weight, mean, square = INITIAL, 0.0, 0.0
    for step, gradient in enumerate(GRADIENTS, start=1):
        weight -= RATE * decoupled * weight
        change = gradient + coupled * weight
        mean, square = 0.9 * mean + 0.1 * change, 0.999 * square + 0.001 * change**2
        root = (square / (1 - 0.999**step)) ** 0.5
        weight -= RATE * mean / (1 - 0.9**step) / (root + 1e-8)
    return weight


@pytest.fixture(autouse=True)
def float64(request: pytest.FixtureRequest) -> None:
    paddle.set_default_dtype("float64")
    request.addfinalizer(lambda: paddle.set_default_dtype("float32"))


def test_momentum_and_its_decay_are_held_in_float32_but_the_rate_is_not() -> None:
    found = updated(Momentum(learning_rate=RATE, momentum=MOMENTUM, weight_decay=DECAY))
    held = with_momentum(in_float32(MOMENTUM), in_float32(DECAY))
    assert found == pytest.approx(held, rel=EXACT)
    assert found != pytest.approx(with_momentum(MOMENTUM, DECAY), rel=1e-10)


def test_adam_holds_its_settings_in_float64() -> None:
    coupled = updated(Adam(learning_rate=RATE, weight_decay=DECAY))
    assert coupled == pytest.approx(with_adam(DECAY, 0.0), rel=1e-12)
    decoupled = updated(AdamW(learning_rate=RATE, weight_decay=DECAY))
    assert decoupled == pytest.approx(with_adam(0.0, DECAY), rel=1e-12)


def test_the_epsilon_of_batch_normalisation_is_held_in_float32() -> None:
    values = np.random.default_rng(0).normal(0, 1e-3, (16, 4))
    layer = paddle.nn.BatchNorm1D(4, epsilon=EPSILON)
    found = layer(paddle.to_tensor(values)).numpy()
    centred = values - values.mean(axis=0)

    def normalised(epsilon: float) -> np.ndarray:
        return centred / np.sqrt(values.var(axis=0) + epsilon)

    np.testing.assert_allclose(found, normalised(in_float32(EPSILON)), rtol=1e-12)
    assert (np.abs(found / normalised(EPSILON) - 1) > 1e-10).all()
