"""Softmax cross entropy without margin."""

from __future__ import annotations

import paddle

from vprtrain.errors import UsageError, require_number
from vprtrain.losses.base import SpeakerLoss, cross_entropy
from vprtrain.losses.heads import Head, LinearHead


class CELoss(SpeakerLoss):
    """Cross entropy of the logits of a linear layer with bias: no cosines, no scale, no margin.

    ppvector's ``CELoss`` and the original x-vectors use it. For the cross entropy of scaled cosines
    use ``AMLoss(margin=0)``. ``label_smoothing`` e distributes the share e of each target evenly
    over all classes.

    Args:
        label_smoothing: the share of each target that is distributed evenly over all classes.
    """

    def __init__(self, *, label_smoothing: float = 0.0) -> None:
        super().__init__()
        require_number("label_smoothing", label_smoothing, least=0, below=1)
        self.label_smoothing = label_smoothing

    def build_head(self, *, embedding_dim: int, num_classes: int, class_share: float = 1.0) -> Head:
        if class_share != 1:
            raise UsageError(
                f"the head's class_share is {class_share}, but this loss takes logits of a linear "
                "layer, "
                "and only cosines can be sampled: use a loss of cosines, such as AMLoss(margin=0)"
            )
        return LinearHead(embedding_dim=embedding_dim, num_classes=num_classes)

    def compute(self, scores: paddle.Tensor, labels: paddle.Tensor) -> paddle.Tensor:
        target = paddle.take_along_axis(scores, labels.unsqueeze(1), axis=1, broadcast=False)
        return cross_entropy(scores, target, label_smoothing=self.label_smoothing)
