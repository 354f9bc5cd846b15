"""From embeddings to the scores of the classes."""

from __future__ import annotations

import numpy as np
import paddle
from paddle import nn

from vprtrain.layers.precision import as_float32, full_precision
from vprtrain.layers.rows import RowTable


class Head(nn.Layer):
    """Maps embeddings ``[batch, embedding_dim]`` to float32 scores, one column or more a class."""

    samples = False
    """Whether a step is to be told of its labels by :meth:`sample`."""

    def sample(self, labels: np.ndarray, key: int) -> None:
        """Take note of all labels of the training step that begins; a function of them and the
        key."""

    def training_scores(
        self, embeddings: paddle.Tensor, labels: paddle.Tensor
    ) -> tuple[paddle.Tensor, paddle.Tensor]:
        """The scores that a step learns from, and which of their classes the labels ``[batch]``
        are."""
        return self(embeddings), labels


class CosineHead(Head):
    """Cosines between embeddings and trained directions, ``centers_per_class`` a class.

    ``forward(embeddings)`` maps ``[batch, embedding_dim]`` to float32 ``[batch, num_classes *
    centers_per_class]``, the centres of one class side by side, in float32 inside whatever comes
    in. Rounding may give a little more than 1. ``weight``, one column a centre, starts
    Xavier-uniform.
    """

    def __init__(self, *, embedding_dim: int, num_classes: int, centers_per_class: int = 1) -> None:
        super().__init__()
        self.embedding_dim = embedding_dim
        self.num_classes = num_classes
        self.centers_per_class = centers_per_class
        self.weight = self.create_parameter(
            [embedding_dim, num_classes * centers_per_class],
            default_initializer=nn.initializer.XavierUniform(),
        )

    def forward(self, embeddings: paddle.Tensor) -> paddle.Tensor:
        with full_precision():
            # The product is scaled instead of the weight: it is the smaller of the two.
            return paddle.matmul(unit_length(as_float32(embeddings)), self.weight) * _inverse_norm(
                self.weight, 0
            )


class SampledCosineHead(Head):
    """The cosines of :class:`CosineHead`, of which a training step sees some classes only: for very
    many of them.

    Partial FC (https://arxiv.org/abs/2010.05222, https://arxiv.org/abs/2203.15565): of each step,
    all classes of its batch and others drawn evenly without replacement, ``class_share *
    num_classes`` in all (more where the batch has more). Forward, backward and the optimizer's
    update cost what these classes cost.

    **The estimate is biased.** The loss's sum over wrong classes is the sampled ones', not scaled
    up: it is too small by about the factor ``class_share``, so the softmax is too sure of the right
    class. A wrong class is pushed away in few steps, but then by more; classes that are easily
    confused meet more rarely. Weight decay and momentum reach a class only in steps that sample it.
    With ``class_share=1`` loss, gradients and updates are those of :class:`CosineHead`. The
    accuracy that is logged is that among the sampled classes, hence higher than among all.

    ``forward(embeddings)`` gives the cosines of all classes, ``[batch, num_classes *
    centers_per_class]``. The weight, one row a centre, is ``centers.weight``.
    """

    samples = True

    def __init__(
        self,
        *,
        embedding_dim: int,
        num_classes: int,
        centers_per_class: int = 1,
        class_share: float = 0.1,
    ) -> None:
        super().__init__()
        self.embedding_dim = embedding_dim
        self.num_classes = num_classes
        self.centers_per_class = centers_per_class
        self.class_share = class_share
        self.centers = RowTable(rows=num_classes * centers_per_class, columns=embedding_dim)
        self._classes: paddle.Tensor | None = None

    def sample(self, labels: np.ndarray, key: int) -> None:
        """Draw the step's classes. Ranks that are given the same labels and key draw the same."""
        count = round(self.class_share * self.num_classes)
        classes = _with_others(
            np.unique(labels), count, self.num_classes, np.random.default_rng(key)
        )
        first = classes[:, None] * self.centers_per_class
        self.centers.choose((first + np.arange(self.centers_per_class)).reshape(-1))
        self._classes = paddle.to_tensor(classes)

    def training_scores(
        self, embeddings: paddle.Tensor, labels: paddle.Tensor
    ) -> tuple[paddle.Tensor, paddle.Tensor]:
        return _cosines(embeddings, self.centers.active), paddle.searchsorted(self._classes, labels)

    def forward(self, embeddings: paddle.Tensor) -> paddle.Tensor:
        return _cosines(embeddings, self.centers.weight)


class LinearHead(nn.Linear, Head):
    """Logits of the classes: a product with a trained matrix, plus a bias.

    ``forward(embeddings)`` maps ``[batch, embedding_dim]`` to float32 ``[batch, num_classes]``, in
    float32 inside whatever comes in.
    """

    def __init__(self, *, embedding_dim: int, num_classes: int) -> None:
        super().__init__(embedding_dim, num_classes)

    def forward(self, embeddings: paddle.Tensor) -> paddle.Tensor:
        with full_precision():
            return super().forward(as_float32(embeddings))


def _cosines(embeddings: paddle.Tensor, centers: paddle.Tensor) -> paddle.Tensor:
    """``[batch, centers]`` of embeddings and centres that are rows."""
    with full_precision():
        products = paddle.matmul(unit_length(as_float32(embeddings)), centers, transpose_y=True)
        return products * _inverse_norm(centers, 1).t()


def _with_others(some: np.ndarray, count: int, total: int, rng: np.random.Generator) -> np.ndarray:
    """``some`` numbers (ascending) and evenly drawn others below ``total``, ``count`` in all if so
    many, ascending."""
    drawn = rng.choice(total - len(some), max(count - len(some), 0), replace=False, shuffle=False)
    # Numbered without those of `some`: each is raised by how many of them lie before it.
    others = drawn + np.searchsorted(some - np.arange(len(some)), drawn, side="right")
    return np.sort(np.concatenate([some, others]))


def unit_length(embeddings: paddle.Tensor) -> paddle.Tensor:
    """Each row divided by its Euclidean length; a row of zeros stays, with a finite gradient."""
    return embeddings * _inverse_norm(embeddings, 1)


def _inverse_norm(x: paddle.Tensor, axis: int) -> paddle.Tensor:
    return paddle.rsqrt(paddle.square(x).sum(axis, keepdim=True).clip(min=1e-24))


@paddle.no_grad()
def margin_free_accuracy(scores: paddle.Tensor, labels: paddle.Tensor) -> paddle.Tensor:
    """The share of ``labels`` ``[batch]`` that have the largest of ``scores`` ``[batch, classes]``.

    A float32 scalar on the device. No margin enters, so that it can be compared while the margin
    grows.
    """
    return (scores.argmax(axis=1) == labels).astype("float32").mean()
