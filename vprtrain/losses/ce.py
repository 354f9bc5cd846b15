"""Softmax cross entropy without margin."""

from __future__ import annotations

import paddle

from vprtrain.errors import UsageError
from vprtrain.losses.base import SpeakerLoss, cross_entropy
from vprtrain.losses.heads import Head, LinearHead


class CELoss(SpeakerLoss):
    """Cross entropy of the logits of a linear layer with bias: no cosines, no scale, no margin.

    What ppvector's ``CELoss`` and the original x-vectors are trained with. For the cross entropy of
    scaled cosines take ``AMLoss(margin=0)``. ``label_smoothing`` e spreads the share e of each
    target evenly over all classes.
    """

    def __init__(self, *, label_smoothing: float = 0.0) -> None:
        super().__init__()
        if not 0 <= label_smoothing < 1:
            raise UsageError(
                f"CELoss was given label_smoothing {label_smoothing}, expected 0 <= label_smoothing < 1"
            )
        self.label_smoothing = label_smoothing

    def build_head(self, *, embedding_dim: int, num_classes: int, class_share: float = 1.0) -> Head:
        if class_share != 1:
            raise UsageError(
                f"the head's class_share is {class_share}, but classes can only be sampled of cosines, and this loss "
                "takes logits of a linear layer: use a loss of cosines, AMLoss(margin=0) for one"
            )
        return LinearHead(embedding_dim=embedding_dim, num_classes=num_classes)

    def compute(self, scores: paddle.Tensor, labels: paddle.Tensor) -> paddle.Tensor:
        target = paddle.take_along_axis(scores, labels.unsqueeze(1), axis=1, broadcast=False)
        return cross_entropy(scores, target, label_smoothing=self.label_smoothing)
