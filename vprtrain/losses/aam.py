"""Additive angular margin softmax."""

from __future__ import annotations

import math

import paddle

from vprtrain.errors import require_flags
from vprtrain.losses.margin import MarginSoftmaxLoss

# Keeps sqrt(1 - c^2) and its gradient finite, as SpeechBrain does.
_LARGEST_COSINE = 1 - 1e-7


class AAMLoss(MarginSoftmaxLoss):
    """Additive angular margin loss (ArcFace, https://arxiv.org/abs/1801.07698): m is added to the
    angle.

    The right class's cosine c becomes ``cos(theta + m) = c cos m - sqrt(1 - c^2) sin m``. If theta
    + m exceeds pi (c <= cos(pi - m)), it becomes ``c - (1 + cos(pi - m))``, which is continuous
    there, as in 3D-Speaker and WeSpeaker. With ``easy_margin`` it stays c if c <= 0. Loss and
    gradient are finite for every cosine, also for one that rounding lifted above 1.

    Args:
        margin: what the true class must be ahead by, in radians.
        scale: the factor of the cosines.
        easy_margin: leave cosines of 0 and below as they are.
        label_smoothing: the share of each target that is distributed evenly over all classes.
    """

    def __init__(
        self,
        *,
        margin: float = 0.2,
        scale: float = 32.0,
        easy_margin: bool = False,
        label_smoothing: float = 0.0,
    ) -> None:
        super().__init__(margin=margin, scale=scale, label_smoothing=label_smoothing)
        require_flags(easy_margin=easy_margin)
        self.easy_margin = easy_margin

    def lowered(self, cosine: paddle.Tensor) -> paddle.Tensor:
        if self.easy_margin:
            return paddle.where(cosine > 0, turned(cosine, self.margin), cosine)
        return turned_away(cosine, self.margin)


def turned(cosine: paddle.Tensor, angle: float) -> paddle.Tensor:
    """``cos(theta + angle)`` from ``cos(theta)``. Value and gradient are finite even if rounding
    gave a cosine above 1."""
    bounded = cosine.clip(-_LARGEST_COSINE, _LARGEST_COSINE)
    sine = paddle.sqrt(1.0 - paddle.square(bounded))
    return bounded * math.cos(angle) - sine * math.sin(angle)


def turned_away(cosine: paddle.Tensor, angle: float) -> paddle.Tensor:
    """:func:`turned` up to pi; beyond it ``c - (1 + cos(pi - angle))``, which keeps falling as
    theta grows."""
    limit = math.cos(math.pi - angle)
    return paddle.where(cosine > limit, turned(cosine, angle), cosine - (1.0 + limit))
