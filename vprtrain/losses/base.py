"""The interface of every loss."""

from __future__ import annotations

import paddle
from paddle import nn

from vprtrain.errors import UsageError, shown
from vprtrain.layers.precision import as_float32, full_precision
from vprtrain.losses.heads import CosineHead, Head, SampledCosineHead
from vprtrain.spec import Specified


class SpeakerLoss(Specified, nn.Layer):
    """A loss on a head's scores of the training classes.

    ``forward(scores, labels)`` maps ``[batch, columns of the head]`` and ``[batch]`` (int64) to a
    float32 scalar, the mean over the batch, computed in float32 for any input type. A subclass
    implements :meth:`compute`, and :meth:`build_head` if its scores are not cosines. A loss may
    have parameters (a bias); they are trained and saved with the module.
    """

    centers_per_class: int = 1
    """The number of score columns per class."""

    def build_head(self, *, embedding_dim: int, num_classes: int, class_share: float = 1.0) -> Head:
        """A head for this loss. The loss builds it, so that both agree on classes and columns.

        Args:
            class_share: below 1, the head is a :class:`SampledCosineHead`.

        Raises:
            UsageError: ``class_share`` is not in (0, 1], or it is below 1 and the scores are not
                cosines.
        """
        if not isinstance(class_share, int | float) or not 0 < class_share <= 1:
            raise UsageError(
                f"the head's class_share is {shown(class_share)}, expected 0 < class_share <= 1"
            )
        if class_share < 1:
            return SampledCosineHead(
                embedding_dim=embedding_dim,
                num_classes=num_classes,
                centers_per_class=self.centers_per_class,
                class_share=class_share,
            )
        return CosineHead(
            embedding_dim=embedding_dim,
            num_classes=num_classes,
            centers_per_class=self.centers_per_class,
        )

    def class_scores(self, scores: paddle.Tensor) -> paddle.Tensor:
        """One score per class, ``[batch, classes]``, without margin. The largest is the predicted
        class."""
        return scores

    def forward(self, scores: paddle.Tensor, labels: paddle.Tensor) -> paddle.Tensor:
        with full_precision():
            return self.compute(as_float32(scores), labels)

    def compute(self, scores: paddle.Tensor, labels: paddle.Tensor) -> paddle.Tensor:
        """:meth:`forward` of float32 scores."""
        raise NotImplementedError(f"{type(self).__name__} has no compute")

    def objective(
        self, scores: paddle.Tensor, labels: paddle.Tensor, embeddings: paddle.Tensor
    ) -> paddle.Tensor:
        """What a training step minimises: :meth:`forward`, plus any term on the embeddings
        themselves.

        ``embeddings`` ``[batch, embedding_dim]`` are the embeddings behind the scores.
        """
        return self(scores, labels)


def cross_entropy(
    logits: paddle.Tensor,
    target: paddle.Tensor,
    *,
    scale: float = 1.0,
    label_smoothing: float = 0.0,
) -> paddle.Tensor:
    """The mean cross entropy of ``logits`` ``[batch, classes]``.

    Args:
        target: ``[batch, 1]``; multiplied by ``scale``, the logits of the true classes.
        label_smoothing: the share of each target that is distributed evenly over all classes.
    """
    # Not F.cross_entropy: on the CPU it caps an example's loss at 64, below what a large scale
    # reaches.
    loss = paddle.logsumexp(logits, axis=1).mean() - scale * target.mean()
    if label_smoothing > 0:
        # = lse - (1 - e) z_y - e mean z, without a matrix of soft labels
        loss = loss + label_smoothing * (scale * target.mean() - logits.mean())
    return loss
