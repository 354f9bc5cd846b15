"""The base classes of the margin losses."""

from __future__ import annotations

import math

import paddle

from vprtrain.errors import require_number
from vprtrain.losses.base import SpeakerLoss, cross_entropy

MOST_SCALE = 1e6


class MarginLoss(SpeakerLoss):
    """A loss with a margin on the true class.

    ``margin`` is a plain number that is read at each computation; MarginSchedule sets it between
    steps.
    """

    def __init__(self, *, margin: float) -> None:
        super().__init__()
        self.margin = margin

    @property
    def margin(self) -> float:
        """The current margin.

        Raises:
            UsageError: it is set to a value outside 0 <= margin < pi / 2.
        """
        return self._margin

    @margin.setter
    def margin(self, value: float) -> None:
        require_number("margin", value, least=0, below=math.pi / 2)
        self._margin = float(value)


class MarginSoftmaxLoss(MarginLoss):
    """Cross entropy of ``scale * cosines`` with the true class's cosine lowered by the margin.

    A subclass implements :meth:`lowered`, and :meth:`others` if the margin changes the other
    classes too. ``label_smoothing`` e distributes the share e of each target evenly over all
    classes.
    """

    def __init__(self, *, margin: float, scale: float, label_smoothing: float = 0.0) -> None:
        super().__init__(margin=margin)
        require_number("scale", scale, above=0, most=MOST_SCALE)
        require_number("label_smoothing", label_smoothing, least=0, below=1)
        self.scale = scale
        self.label_smoothing = label_smoothing

    def lowered(self, cosine: paddle.Tensor) -> paddle.Tensor:
        """The cosines of the true classes with the margin applied, any shape, float32."""
        raise NotImplementedError(f"{type(self).__name__} has no lowered")

    def others(
        self, cosines: paddle.Tensor, target: paddle.Tensor, index: paddle.Tensor
    ) -> paddle.Tensor:
        """``cosines`` ``[batch, classes]`` as used for the wrong classes.

        ``target`` and ``index`` ``[batch, 1]`` are the true classes' lowered cosines and columns;
        the result is ignored in these columns.
        """
        return cosines

    def compute(self, scores: paddle.Tensor, labels: paddle.Tensor) -> paddle.Tensor:
        cosines, index = self.class_scores(scores), labels.unsqueeze(1)
        target = self.lowered(paddle.take_along_axis(cosines, index, axis=1, broadcast=False))
        others = self.others(cosines, target, index)
        # With broadcast=False put_along_axis (unlike take_along_axis) waits for the device, to
        # check the indices.
        logits = self.scale * paddle.put_along_axis(others, index, target, axis=1)
        return cross_entropy(logits, target, scale=self.scale, label_smoothing=self.label_smoothing)
