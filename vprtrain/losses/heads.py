"""From embeddings to the scores of the classes."""

from __future__ import annotations

import paddle
from paddle import nn

from vprtrain.precision import as_float32, full_precision


class CosineHead(nn.Layer):
    """Cosines between embeddings and trained directions, ``centers_per_class`` a class.

    ``forward(embeddings)`` maps ``[batch, embedding_dim]`` to float32 ``[batch, num_classes * centers_per_class]``,
    the centres of one class side by side, in float32 inside whatever comes in. Rounding may give a little more
    than 1. ``weight``, one column a centre, starts Xavier-uniform.
    """

    def __init__(self, *, embedding_dim: int, num_classes: int, centers_per_class: int = 1) -> None:
        super().__init__()
        self.embedding_dim = embedding_dim
        self.num_classes = num_classes
        self.centers_per_class = centers_per_class
        self.weight = self.create_parameter(
            [embedding_dim, num_classes * centers_per_class], default_initializer=nn.initializer.XavierUniform()
        )

    def forward(self, embeddings: paddle.Tensor) -> paddle.Tensor:
        with full_precision():
            # The product is scaled instead of the weight: it is the smaller of the two.
            return paddle.matmul(unit_length(as_float32(embeddings)), self.weight) * _inverse_norm(self.weight, 0)


class LinearHead(nn.Linear):
    """Logits of the classes: a product with a trained matrix, plus a bias.

    ``forward(embeddings)`` maps ``[batch, embedding_dim]`` to float32 ``[batch, num_classes]``, in float32 inside
    whatever comes in.
    """

    def __init__(self, *, embedding_dim: int, num_classes: int) -> None:
        super().__init__(embedding_dim, num_classes)

    def forward(self, embeddings: paddle.Tensor) -> paddle.Tensor:
        with full_precision():
            return super().forward(as_float32(embeddings))


def unit_length(embeddings: paddle.Tensor) -> paddle.Tensor:
    """Each row divided by its Euclidean length; a row of zeros stays, with a finite gradient."""
    return embeddings * _inverse_norm(embeddings, 1)


def _inverse_norm(x: paddle.Tensor, axis: int) -> paddle.Tensor:
    return paddle.rsqrt(paddle.square(x).sum(axis, keepdim=True).clip(min=1e-24))


@paddle.no_grad()
def margin_free_accuracy(scores: paddle.Tensor, labels: paddle.Tensor) -> paddle.Tensor:
    """The share of ``labels`` ``[batch]`` that have the largest of ``scores`` ``[batch, classes]``.

    A float32 scalar on the device. No margin enters, so that it can be compared while the margin grows.
    """
    return (scores.argmax(axis=1) == labels).astype("float32").mean()
