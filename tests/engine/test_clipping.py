"""Clipping by the global norm: Paddle's own function is the reference."""

import numpy as np
import paddle
import pytest

from vprtrain.engine.clipping import clip_by_global_norm


@pytest.mark.parametrize("max_norm", [0.1, 5.0, 1e6])
def test_equals_paddles_clipping(max_norm):
    def gradients():
        paddle.seed(0)
        layers = paddle.nn.Sequential(
            paddle.nn.Linear(7, 5), paddle.nn.Linear(5, 3), paddle.nn.Linear(3, 3)
        )
        layers[2].weight.stop_gradient = True
        (3 * layers(paddle.randn([4, 7]))).square().sum().backward()
        return layers.parameters()

    ours, theirs = gradients(), gradients()
    norm = clip_by_global_norm(ours, max_norm)
    expected = paddle.nn.utils.clip_grad_norm_([p for p in theirs if not p.stop_gradient], max_norm)
    assert norm.shape == []
    np.testing.assert_allclose(norm.numpy(), expected.numpy(), rtol=1e-5)
    for a, b in zip(ours, theirs, strict=True):
        assert (a.grad is None) == (b.grad is None)
        if a.grad is not None:
            np.testing.assert_allclose(a.grad.numpy(), b.grad.numpy(), rtol=1e-4, atol=1e-7)


def test_a_gradient_of_zero_stays_zero():
    weight = paddle.create_parameter([3], "float32")
    (0.0 * weight).sum().backward()
    assert clip_by_global_norm([weight], 1.0).item() == 0.0
    np.testing.assert_array_equal(weight.grad.numpy(), np.zeros(3))
