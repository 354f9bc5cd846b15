"""What the margin losses share."""

from __future__ import annotations

import math

import paddle
from paddle import nn

from vprtrain.errors import UsageError
from vprtrain.spec import Specified


class MarginLoss(Specified, nn.Layer):
    """A loss on cosines that demands a margin of the right class.

    ``forward(cosines, labels)`` maps ``[batch, classes]`` and ``[batch]`` (int64) to a float32 scalar, the
    mean over the batch; a subclass implements it. ``margin`` may be set between steps (a schedule does): a
    plain number, read when the loss is computed.
    """

    def __init__(self, *, margin: float) -> None:
        super().__init__()
        self.margin = margin

    @property
    def margin(self) -> float:
        """The margin in force. Setting one outside 0 <= margin < pi / 2 raises :class:`UsageError`."""
        return self._margin

    @margin.setter
    def margin(self, value: float) -> None:
        if not 0 <= value < math.pi / 2:
            raise UsageError(f"{type(self).__name__} was given the margin {value}, expected 0 <= margin < pi / 2")
        self._margin = float(value)

    def forward(self, cosines: paddle.Tensor, labels: paddle.Tensor) -> paddle.Tensor:
        raise NotImplementedError(f"{type(self).__name__} has no forward")


class MarginSoftmaxLoss(MarginLoss):
    """Cross entropy of ``scale * cosines`` with the right class's cosine lowered by the margin.

    A subclass implements :meth:`lowered`. ``label_smoothing`` e spreads the share e of each target evenly
    over all classes.
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

    def forward(self, cosines: paddle.Tensor, labels: paddle.Tensor) -> paddle.Tensor:
        # A cast to the same type would cost a copy of all classes in the backward pass.
        cosines = cosines if cosines.dtype == paddle.float32 else cosines.astype("float32")
        index = labels.unsqueeze(1)
        target = self.lowered(paddle.take_along_axis(cosines, index, axis=1, broadcast=False))
        logits = self.scale * paddle.put_along_axis(cosines, index, target, axis=1, broadcast=False)
        # Not F.cross_entropy: on the CPU it caps an example's loss at 64, below what a large scale reaches.
        loss = paddle.logsumexp(logits, axis=1).mean() - self.scale * target.mean()
        if self.label_smoothing > 0:
            # = lse - (1 - e) z_y - e mean z, without a matrix of soft labels
            loss = loss + self.label_smoothing * (self.scale * target.mean() - logits.mean())
        return loss
