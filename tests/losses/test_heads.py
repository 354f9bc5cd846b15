"""CosineHead against NumPy, and the accuracy without margin."""

from __future__ import annotations

import numpy as np
import paddle
import pytest

from vprtrain.losses import AAMLoss, CosineHead, margin_free_accuracy


@pytest.mark.parametrize("magnitude", [1e-3, 1.0, 1e4])
def test_gives_cosines(magnitude: float) -> None:
    paddle.seed(0)
    head = CosineHead(embedding_dim=8, num_classes=5)
    embeddings = (magnitude * np.random.default_rng(0).standard_normal((3, 8))).astype("float32")
    weight = head.weight.numpy().astype("float64")
    expected = (
        embeddings
        @ weight
        / np.linalg.norm(embeddings, axis=1)[:, None]
        / np.linalg.norm(weight, axis=0)
    )
    cosines = head(paddle.to_tensor(embeddings))
    assert cosines.shape == [3, 5] and cosines.dtype == paddle.float32
    np.testing.assert_allclose(cosines.numpy(), expected, atol=1e-6)


def test_embeddings_along_a_class_have_a_finite_gradient() -> None:
    paddle.seed(0)
    head = CosineHead(embedding_dim=16, num_classes=30)
    embeddings = (3.0 * head.weight.detach().t()).clone()
    embeddings.stop_gradient = False
    loss = AAMLoss(scale=96.0)(head(embeddings), paddle.arange(30))
    loss.backward()
    for gradient in (embeddings.grad, head.weight.grad):
        assert paddle.isfinite(gradient).all().item()


def test_a_zero_embedding_has_a_finite_gradient() -> None:
    head = CosineHead(embedding_dim=4, num_classes=3)
    embeddings = paddle.zeros([2, 4])
    embeddings.stop_gradient = False
    cosines = head(embeddings)
    cosines.sum().backward()
    assert not cosines.numpy().any()
    assert paddle.isfinite(embeddings.grad).all().item()


def test_low_precision_embeddings_give_float32_cosines() -> None:
    head = CosineHead(embedding_dim=8, num_classes=5)
    embeddings = paddle.randn([3, 8]).astype("float16")
    cosines = head(embeddings)
    assert cosines.dtype == paddle.float32
    np.testing.assert_array_equal(cosines.numpy(), head(embeddings.astype("float32")).numpy())


def test_weight_starts_xavier_uniform() -> None:
    weight = CosineHead(embedding_dim=200, num_classes=100).weight.numpy()
    bound = np.sqrt(6 / 300)
    assert np.abs(weight).max() <= bound
    assert weight.std() == pytest.approx(bound / np.sqrt(3), rel=0.02)


def test_accuracy_counts_the_largest_cosine() -> None:
    cosines = paddle.to_tensor([[0.9, 0.1], [0.4, 0.5], [0.3, 0.2], [-0.1, -0.2]])
    cosines.stop_gradient = False
    accuracy = margin_free_accuracy(cosines, paddle.to_tensor([0, 1, 1, 0]))
    assert accuracy.shape == [] and accuracy.dtype == paddle.float32 and accuracy.stop_gradient
    assert accuracy.item() == 0.75
