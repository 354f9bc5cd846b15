"""Additive margin softmax, and the additive real margin."""

from __future__ import annotations

import paddle

from vprtrain.losses.margin import MarginSoftmaxLoss


class AMLoss(MarginSoftmaxLoss):
    """Additive margin loss (CosFace, https://arxiv.org/abs/1801.09414): m is subtracted from the
    cosine of the true class.

    With ``margin=0`` it is the normalised softmax.

    Args:
        margin: is subtracted from the cosine of the true class.
        scale: the factor of the cosines.
        label_smoothing: the share of each target that is distributed evenly over all classes.
    """

    def __init__(
        self, *, margin: float = 0.2, scale: float = 30.0, label_smoothing: float = 0.0
    ) -> None:
        super().__init__(margin=margin, scale=scale, label_smoothing=label_smoothing)

    def lowered(self, cosine: paddle.Tensor) -> paddle.Tensor:
        return cosine - self.margin


class ARMLoss(AMLoss):
    """Additive real margin loss (https://arxiv.org/abs/2110.09116): additive margin without a
    penalty on classes that already keep the margin.

    A wrong class whose cosine is below the true class's cosine minus the margin gets the logit 0
    and is not pushed away further: ``loss = -log(e^z_y / sum_j e^p_j)`` with ``z_y = s (c_y -
    m)`` and ``p_j = s c_j`` if that is at least ``z_y``, else 0. This is ppvector's form; it has a
    jump where ``s c_j`` passes ``z_y``.
    """

    def others(
        self, cosines: paddle.Tensor, target: paddle.Tensor, index: paddle.Tensor
    ) -> paddle.Tensor:
        # Multiplying by 0 and 1 takes half the time of paddle.where.
        return cosines * (cosines >= target).astype("float32")
