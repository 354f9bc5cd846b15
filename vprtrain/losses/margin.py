"""What the margin losses share."""

from __future__ import annotations

import math

import paddle

from vprtrain.errors import UsageError
from vprtrain.losses.base import SpeakerLoss, cross_entropy


class MarginLoss(SpeakerLoss):
    """A loss that demands a margin of the right class.

    ``margin`` may be set between steps (a schedule does): a plain number, read when the loss is
    computed.
    """

    def __init__(self, *, margin: float) -> None:
        super().__init__()
        self.margin = margin

    @property
    def margin(self) -> float:
        """The margin in force. Setting one outside 0 <= margin < pi / 2 raises
        :class:`UsageError`."""
        return self._margin

    @margin.setter
    def margin(self, value: float) -> None:
        if not 0 <= value < math.pi / 2:
            raise UsageError(
                f"{type(self).__name__} was given the margin {value}, expected 0 <= margin < pi / 2"
            )
        self._margin = float(value)


class MarginSoftmaxLoss(MarginLoss):
    """Cross entropy of ``scale * cosines`` with the right class's cosine lowered by the margin.

    A subclass implements :meth:`lowered`, and :meth:`others` where the margin changes the other
    classes as well. ``label_smoothing`` e spreads the share e of each target evenly over all
    classes.
    """

    def __init__(self, *, margin: float, scale: float, label_smoothing: float = 0.0) -> None:
        super().__init__(margin=margin)
        if scale <= 0 or not 0 <= label_smoothing < 1:
            raise UsageError(
                f"{type(self).__name__} was given scale {scale} and label_smoothing {label_smoothing}, "
                "expected scale > 0 and 0 <= label_smoothing < 1"
            )
        self.scale = scale
        self.label_smoothing = label_smoothing

    def lowered(self, cosine: paddle.Tensor) -> paddle.Tensor:
        """The right class's cosines with the margin, any shape, float32."""
        raise NotImplementedError(f"{type(self).__name__} has no lowered")

    def others(
        self, cosines: paddle.Tensor, target: paddle.Tensor, index: paddle.Tensor
    ) -> paddle.Tensor:
        """``cosines`` ``[batch, classes]`` as the wrong classes shall enter.

        ``target`` and ``index`` ``[batch, 1]`` are the right classes' lowered cosines and places;
        what the result holds there does not matter.
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
