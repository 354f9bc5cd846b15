"""Hard triplets within the batch."""

from __future__ import annotations

import paddle
import paddle.nn.functional as F

from vprtrain.errors import require_number
from vprtrain.layers.precision import as_float32, full_precision
from vprtrain.losses.ce import CELoss
from vprtrain.losses.heads import Head, unit_length
from vprtrain.losses.margin import MarginLoss

_MOST_COSINE = 2.0  # a limit beyond 1 is always kept, which switches its term off


class TripletAngularMarginLoss(MarginLoss):
    """Cross entropy of a linear layer's logits, plus a triplet term on the embeddings, as in
    ppvector 1.1.5.

    Let p be the cosine to the farthest embedding of the same class in the batch (itself if there is
    no other) and n the cosine to the nearest embedding of another class. Each embedding adds ::

        max(0, n - p + m) + absolute_weight (max(0, near - p) + max(0, n - far))

    The margin applies to cosines, not to angles. If the batch has one class only, the terms with n
    are zero. Batches should contain several utterances per speaker, otherwise there are no
    triplets. (ppvector adds 1 instead of 0 if n <= far, which has no gradient.)

    ``forward(scores, labels)`` is the cross entropy, :meth:`triplets` the term, :meth:`objective`
    their sum.

    Args:
        margin: m, of cosines.
        near: the cosine that embeddings of one class should have at least.
        far: the cosine that embeddings of two classes should have at most.
        absolute_weight: the weight of these two terms; with 0 only the triplets count.
        label_smoothing: the share of each target that the cross entropy distributes evenly over all
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
        require_number("near", near, least=-_MOST_COSINE, most=_MOST_COSINE)
        require_number("far", far, least=-_MOST_COSINE, most=_MOST_COSINE)
        require_number("absolute_weight", absolute_weight, least=0, most=1e6)
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
            # at most 1, since an embedding is its own positive
            positive = paddle.where(same, cosines, 2.0).min(1)
            # -4: so low that no hinge is active
            negative = paddle.where(same, -4.0, cosines).max(1)
            ranking = F.relu(negative - positive + self.margin).mean()
            absolute = F.relu(self.near - positive).mean() + F.relu(negative - self.far).mean()
            return ranking + self.absolute_weight * absolute
