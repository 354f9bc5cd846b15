"""Several centres per class; the nearest one counts."""

from __future__ import annotations

import paddle
import paddle.nn.functional as F

from vprtrain.errors import UsageError, require_number, require_whole
from vprtrain.losses.aam import AAMLoss, turned
from vprtrain.losses.heads import MOST_CLASSES

# The margin at which the penalty has the given value.
_FULL_MARGIN = 0.2


class SubCenterLoss(AAMLoss):
    """Sub-center ArcFace (https://doi.org/10.1007/978-3-030-58621-8_43): AAM on the nearest centre
    of a class.

    Utterances with wrong labels can gather around a centre of their own.

    Args:
        margin: what the true class must be ahead by, in radians.
        scale: the factor of the cosines.
        easy_margin: leave cosines of 0 and below as they are.
        label_smoothing: the share of each target that is distributed evenly over all classes.
        centers_per_class: K; ``forward`` takes cosines ``[batch, classes * K]``, the centres of
            class j in the columns ``j K .. j K + K - 1``, and :meth:`build_head` makes the head
            that gives them.
    """

    def __init__(
        self,
        *,
        margin: float = 0.2,
        scale: float = 32.0,
        centers_per_class: int = 3,
        easy_margin: bool = False,
        label_smoothing: float = 0.0,
    ) -> None:
        super().__init__(
            margin=margin, scale=scale, easy_margin=easy_margin, label_smoothing=label_smoothing
        )
        require_whole("centers_per_class", centers_per_class, 1, 100)
        self.centers_per_class = centers_per_class

    def class_scores(self, scores: paddle.Tensor) -> paddle.Tensor:
        """The cosine of each class's nearest centre.

        Raises:
            UsageError: the number of scores is not a multiple of ``centers_per_class``.
        """
        columns, centers = scores.shape[1], self.centers_per_class
        if columns % centers:
            raise UsageError(
                f"{type(self).__name__} was given {columns} cosines, expected {centers} per class: "
                "use its build_head"
            )
        # On the CPU this is ten times as fast, forward and backward, as a maximum over an axis of
        # K.
        return F.max_pool1d(scores.unsqueeze(1), centers, stride=centers).squeeze(1)


class SubCenterInterTopKLoss(SubCenterLoss):
    """:class:`SubCenterLoss` with a penalty on the nearest wrong classes
    (https://arxiv.org/abs/2110.05042).

    The ``hard_classes`` wrong classes with the largest cosines are raised to ``cos(theta - p)``. As
    in WeSpeaker the angle p grows with the margin: ``p = penalty * margin / 0.2``. Large-margin
    fine-tuning disables it (``hard_classes=0``).

    Args:
        margin: what the true class must be ahead by, in radians.
        scale: the factor of the cosines.
        centers_per_class: the number of centres of a class.
        easy_margin: leave cosines of 0 and below as they are.
        label_smoothing: the share of each target that is distributed evenly over all classes.
        hard_classes: k; all wrong classes if there are at most k.
        penalty: in radians, at the margin 0.2.
    """

    def __init__(
        self,
        *,
        margin: float = 0.2,
        scale: float = 32.0,
        centers_per_class: int = 3,
        hard_classes: int = 5,
        penalty: float = 0.06,
        easy_margin: bool = False,
        label_smoothing: float = 0.0,
    ) -> None:
        super().__init__(
            margin=margin,
            scale=scale,
            centers_per_class=centers_per_class,
            easy_margin=easy_margin,
            label_smoothing=label_smoothing,
        )
        require_whole("hard_classes", hard_classes, 0, MOST_CLASSES)
        require_number("penalty", penalty, least=0, most=_FULL_MARGIN)
        self.hard_classes = hard_classes
        self.penalty = penalty

    def others(
        self, cosines: paddle.Tensor, target: paddle.Tensor, index: paddle.Tensor
    ) -> paddle.Tensor:
        count = min(self.hard_classes, cosines.shape[1] - 1)
        if count == 0:
            return cosines
        with paddle.no_grad():
            wrong = paddle.put_along_axis(cosines, index, paddle.full_like(target, -2.0), axis=1)
            hard = paddle.topk(wrong, count, axis=1, sorted=False)[1]
        raised = turned(
            paddle.take_along_axis(cosines, hard, axis=1, broadcast=False),
            -self.penalty * self.margin / _FULL_MARGIN,
        )
        return paddle.put_along_axis(cosines, hard, raised, axis=1)
