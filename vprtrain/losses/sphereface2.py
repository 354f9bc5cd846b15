"""One binary classification per class."""

from __future__ import annotations

from functools import reduce
from operator import mul
from typing import Literal

import paddle
import paddle.nn.functional as F
from paddle import nn

from vprtrain.errors import require_choice, require_number, require_whole
from vprtrain.losses.aam import turned, turned_away
from vprtrain.losses.margin import MOST_SCALE, MarginLoss


class SphereFace2Loss(MarginLoss):
    """SphereFace2 (https://arxiv.org/abs/2108.01513; for speakers
    https://arxiv.org/abs/2307.08205).

    Each class decides independently whether the utterance belongs to it. With ``g(z) = 2 ((z + 1) /
    2)^t
    - 1``, a trained bias b and c the cosine of the angle theta::

        type C:  p = s (g(c) - m) + b              n = s (g(c) + m) + b
        type A:  p = s g(cos(theta + m)) + b       n = s g(cos(theta - m)) + b
        loss = w log(1 + e^-p) [true class] + (1 - w) sum log(1 + e^n) [wrong classes]

    If theta + m exceeds pi, type A continues as :class:`~vprtrain.losses.AAMLoss` does.
    Margins in use: 0.2 with type C (0.3 in fine-tuning), 0.15 with type A (0.25).

    Args:
        margin: m, of cosines with type C, in radians with type A.
        scale: s, the factor of the cosines.
        margin_type: the place of the margin, as above.
        positive_weight: w, the weight of the true class.
        exponent: t.
    """

    def __init__(
        self,
        *,
        margin: float = 0.2,
        scale: float = 32.0,
        margin_type: Literal["A", "C"] = "C",
        positive_weight: float = 0.7,
        exponent: int = 3,
    ) -> None:
        super().__init__(margin=margin)
        require_number("scale", scale, above=0, most=MOST_SCALE)
        require_whole("exponent", exponent, 1, 100)
        require_number("positive_weight", positive_weight, above=0, below=1)
        require_choice("margin_type", margin_type, ("A", "C"))
        self.scale = scale
        self.margin_type = margin_type
        self.positive_weight = positive_weight
        self.exponent = exponent
        self.bias = self.create_parameter([1], default_initializer=nn.initializer.Constant(0.0))

    def compute(self, scores: paddle.Tensor, labels: paddle.Tensor) -> paddle.Tensor:
        index = labels.unsqueeze(1)
        positive = self._positive(paddle.take_along_axis(scores, index, axis=1, broadcast=False))
        # The right class among the wrong ones: log(1 + e^-p) there too, so that one sum has all
        # terms.
        terms = paddle.put_along_axis(self._negative(scores), index, -positive, axis=1)
        w = self.positive_weight
        total = (1 - w) * F.softplus(terms).sum(1) + (2 * w - 1) * F.softplus(-positive).squeeze(1)
        return total.mean()

    def _positive(self, cosine: paddle.Tensor) -> paddle.Tensor:
        if self.margin_type == "A":
            return self._logit(turned_away(cosine, self.margin), 0.0)
        return self._logit(cosine, -self.margin)

    def _negative(self, cosine: paddle.Tensor) -> paddle.Tensor:
        if self.margin_type == "A":
            return self._logit(turned(cosine, -self.margin), 0.0)
        return self._logit(cosine, self.margin)

    def _logit(self, z: paddle.Tensor, shift: float) -> paddle.Tensor:
        """``s (g(z) + shift) + b``, by t products: a power takes ten times as long."""
        half = paddle.scale(z, 0.5, 0.5)
        return reduce(mul, [half] * self.exponent) * (2 * self.scale) + (
            self.bias + self.scale * (shift - 1)
        )
