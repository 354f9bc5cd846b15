"""Hard triplets within the batch."""

from __future__ import annotations

import paddle
import paddle.nn.functional as F

from vprtrain.errors import UsageError
from vprtrain.layers.precision import as_float32, full_precision
from vprtrain.losses.ce import CELoss
from vprtrain.losses.heads import Head, unit_length
from vprtrain.losses.margin import MarginLoss


class TripletAngularMarginLoss(MarginLoss):
    """Cross entropy of a linear layer's logits, plus a triplet term on the embeddings, as in
    ppvector 1.1.5.

    With p the cosine to the farthest embedding of the same class in the batch (itself, where it is
    alone) and n that to the nearest one of another class, each embedding gives the term ::

        max(0, n - p + m) + absolute_weight (max(0, near - p) + max(0, n - far))

    Cosines, not angles, carry the margin. Where the batch has no other class, n asks for nothing.
    Batches should hold several utterances of a speaker, else there is no triplet. (ppvector adds 1
    instead of 0 where n <= far, which has no gradient.)

    ``forward(scores, labels)`` is the cross entropy, :meth:`triplets` the term, :meth:`objective`
    their sum.

    Args:
        near: the cosine that embeddings of one class should have at least.
        far: the cosine that embeddings of two classes should have at most.
        absolute_weight: the share of these two demands; 0 leaves the triplets alone.
        label_smoothing: the share of each target that the cross entropy spreads evenly over all
            classes.
    """

    def __init__(
        self,
        *,
        margin: float = 0.5,
        near: float = 0.8,
        far: float = 0.4,
        absolute_weight: float = 1.0,
        label_smoothing: float = 0.0,
    ) -> None:
        super().__init__(margin=margin)
        if absolute_weight < 0:
            raise UsageError(
                f"{type(self).__name__} was given absolute_weight {absolute_weight}, expected >= 0"
            )
        self.near = near
        self.far = far
        self.absolute_weight = absolute_weight
        self.cross_entropy = CELoss(label_smoothing=label_smoothing)

    def build_head(self, *, embedding_dim: int, num_classes: int, class_share: float = 1.0) -> Head:
        return self.cross_entropy.build_head(
            embedding_dim=embedding_dim, num_classes=num_classes, class_share=class_share
        )

    def compute(self, scores: paddle.Tensor, labels: paddle.Tensor) -> paddle.Tensor:
        return self.cross_entropy.compute(scores, labels)

    def objective(
        self, scores: paddle.Tensor, labels: paddle.Tensor, embeddings: paddle.Tensor
    ) -> paddle.Tensor:
        return self(scores, labels) + self.triplets(embeddings, labels)

    def triplets(self, embeddings: paddle.Tensor, labels: paddle.Tensor) -> paddle.Tensor:
        """The mean term of ``embeddings`` ``[batch, embedding_dim]``, a float32 scalar."""
        with full_precision():
            unit = unit_length(as_float32(embeddings))
            cosines = paddle.matmul(unit, unit, transpose_y=True)
            same = labels.unsqueeze(1) == labels.unsqueeze(0)
            # at most 1: an embedding is its own positive
            positive = paddle.where(same, cosines, 2.0).min(1)
            # -4, so far away that no hinge opens
            negative = paddle.where(same, -4.0, cosines).max(1)
            ranking = F.relu(negative - positive + self.margin).mean()
            absolute = F.relu(self.near - positive).mean() + F.relu(negative - self.far).mean()
            return ranking + self.absolute_weight * absolute
