"""From embeddings to one cosine a class."""

from __future__ import annotations

import paddle
from paddle import nn


class CosineHead(nn.Layer):
    """Cosines between embeddings and one trained direction a class.

    ``forward(embeddings)`` maps ``[batch, embedding_dim]`` to float32 ``[batch, num_classes]``, in float32
    inside whatever comes in: half precision cannot tell neighbouring angles apart. Rounding may give a little
    more than 1. ``weight`` ``[embedding_dim, num_classes]`` starts Xavier-uniform.
    """

    def __init__(self, *, embedding_dim: int, num_classes: int) -> None:
        super().__init__()
        self.embedding_dim = embedding_dim
        self.num_classes = num_classes
        self.weight = self.create_parameter(
            [embedding_dim, num_classes], default_initializer=nn.initializer.XavierUniform()
        )

    def forward(self, embeddings: paddle.Tensor) -> paddle.Tensor:
        if not paddle.is_autocast_enabled():
            return self._cosines(embeddings)
        with paddle.amp.auto_cast(enable=False):
            return self._cosines(embeddings)

    def _cosines(self, embeddings: paddle.Tensor) -> paddle.Tensor:
        embeddings, weight = embeddings.astype("float32"), self.weight.astype("float32")
        # The product is scaled instead of the weight: it is the smaller of the two.
        return paddle.matmul(embeddings * _inverse_norm(embeddings, 1), weight) * _inverse_norm(weight, 0)


def _inverse_norm(x: paddle.Tensor, axis: int) -> paddle.Tensor:
    return paddle.rsqrt(paddle.square(x).sum(axis, keepdim=True).clip(min=1e-24))


@paddle.no_grad()
def margin_free_accuracy(cosines: paddle.Tensor, labels: paddle.Tensor) -> paddle.Tensor:
    """The share of ``labels`` ``[batch]`` that have the largest of ``cosines`` ``[batch, classes]``.

    A float32 scalar on the device. No margin enters, so that it can be compared while the margin grows.
    """
    return (cosines.argmax(axis=1) == labels).astype("float32").mean()
