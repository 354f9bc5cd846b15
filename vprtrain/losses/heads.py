"""Heads: from embeddings to class scores."""

from __future__ import annotations

import numpy as np
import paddle
from paddle import nn

from vprtrain.errors import require_whole
from vprtrain.layers.initialisation import Linear
from vprtrain.layers.precision import as_float32, full_precision
from vprtrain.layers.rows import RowTable
from vprtrain.layers.sizes import require_channels

MOST_CLASSES = 2**31 - 1
"""The most columns of a head: Paddle's sizes are 32 bits wide."""


class Head(nn.Layer):
    """Maps embeddings ``[batch, embedding_dim]`` to float32 scores with one or more columns per
    class."""

    samples = False
    """Whether :meth:`sample` must be called before each training step."""

    def sample(self, labels: np.ndarray, key: int) -> None:
        """Choose the classes of the next training step, as a function of its labels and the key."""

    def training_scores(
        self, embeddings: paddle.Tensor, labels: paddle.Tensor
    ) -> tuple[paddle.Tensor, paddle.Tensor]:
        """The scores for a training step, and the labels ``[batch]`` as indices into their
        classes."""
        return self(embeddings), labels


class CosineHead(Head):
    """Cosines between embeddings and trained centres, ``centers_per_class`` per class.

    ``forward(embeddings)`` maps ``[batch, embedding_dim]`` to float32 ``[batch, num_classes *
    centers_per_class]``, the centres of a class in adjacent columns. It computes in float32 for any
    input type. Rounding may give values slightly above 1. ``weight`` has one column per centre and
    starts Xavier-uniform.
    """

    def __init__(self, *, embedding_dim: int, num_classes: int, centers_per_class: int = 1) -> None:
        _require_sizes(embedding_dim, num_classes, centers_per_class)
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
            # Scaling the product instead of the weight is cheaper, because the product is smaller.
            return paddle.matmul(unit_length(as_float32(embeddings)), self.weight) * _inverse_norm(
                self.weight, 0
            )


class SampledCosineHead(Head):
    """A :class:`CosineHead` for very many classes: each training step uses a sample of them.

    Partial FC (https://arxiv.org/abs/2010.05222, https://arxiv.org/abs/2203.15565): a step uses all
    classes of its batch and others that are drawn uniformly without replacement, ``class_share *
    num_classes`` in total (more if the batch has more). The cost of forward, backward and optimizer
    update is proportional to this number.

    **The estimate is biased.** The loss sums over the sampled wrong classes and does not scale the
    sum up. The sum is too small by about the factor ``class_share``, so the softmax is too
    confident in the true class. A wrong class is pushed away in fewer steps, but by more in each;
    classes that are easily confused meet less often. Weight decay and momentum reach a class only
    in steps that sample it. With ``class_share=1`` loss, gradients and updates are those of
    :class:`CosineHead`. The logged accuracy is among the sampled classes, so it is higher than
    among all classes.

    ``forward(embeddings)`` gives the cosines of all classes, ``[batch, num_classes *
    centers_per_class]``. The weight is ``centers.weight``, with one row per centre.
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
        _require_sizes(embedding_dim, num_classes, centers_per_class)
        super().__init__()
        self.embedding_dim = embedding_dim
        self.num_classes = num_classes
        self.centers_per_class = centers_per_class
        self.class_share = class_share
        self.centers = RowTable(rows=num_classes * centers_per_class, columns=embedding_dim)
        self._classes: paddle.Tensor | None = None

    def sample(self, labels: np.ndarray, key: int) -> None:
        """Draw the classes of the next step. Ranks with the same labels and key draw the same
        classes."""
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


class LinearHead(Linear, Head):
    """Class logits: a linear layer with bias.

    ``forward(embeddings)`` maps ``[batch, embedding_dim]`` to float32 ``[batch, num_classes]``, and
    computes in float32 for any input type.
    """

    def __init__(self, *, embedding_dim: int, num_classes: int) -> None:
        _require_sizes(embedding_dim, num_classes, 1)
        super().__init__(embedding_dim, num_classes)

    def forward(self, embeddings: paddle.Tensor) -> paddle.Tensor:
        with full_precision():
            return super().forward(as_float32(embeddings))


def _require_sizes(embedding_dim: int, num_classes: int, centers_per_class: int) -> None:
    require_channels(embedding_dim=embedding_dim)
    require_whole("num_classes", num_classes, 1, MOST_CLASSES)
    require_whole("centers_per_class", centers_per_class, 1, MOST_CLASSES)
    require_whole("the number of centres", num_classes * centers_per_class, 1, MOST_CLASSES)


def _cosines(embeddings: paddle.Tensor, centers: paddle.Tensor) -> paddle.Tensor:
    """Cosines ``[batch, centers]`` of embeddings and of centres given as rows."""
    with full_precision():
        products = paddle.matmul(unit_length(as_float32(embeddings)), centers, transpose_y=True)
        return products * _inverse_norm(centers, 1).t()


def _with_others(some: np.ndarray, count: int, total: int, rng: np.random.Generator) -> np.ndarray:
    """``some`` (ascending numbers) plus numbers drawn uniformly below ``total``, ascending;
    ``count`` in total if possible."""
    drawn = rng.choice(total - len(some), max(count - len(some), 0), replace=False, shuffle=False)
    # The draw is over the numbers without `some`; each result is then shifted past the members of
    # `some` before it.
    others = drawn + np.searchsorted(some - np.arange(len(some)), drawn, side="right")
    return np.sort(np.concatenate([some, others]))


def unit_length(embeddings: paddle.Tensor) -> paddle.Tensor:
    """Each row divided by its Euclidean length. A row of zeros stays zero and has a finite
    gradient."""
    return embeddings * _inverse_norm(embeddings, 1)


def _inverse_norm(x: paddle.Tensor, axis: int) -> paddle.Tensor:
    return paddle.rsqrt(paddle.square(x).sum(axis, keepdim=True).clip(min=1e-24))


@paddle.no_grad()
def margin_free_accuracy(scores: paddle.Tensor, labels: paddle.Tensor) -> paddle.Tensor:
    """The share of ``labels`` ``[batch]`` whose class has the largest of ``scores`` ``[batch,
    classes]``.

    A float32 scalar on the device. The scores have no margin, so values stay comparable while the
    margin grows.
    """
    return (scores.argmax(axis=1) == labels).astype("float32").mean()
