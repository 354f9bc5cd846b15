"""SpecAugment: random stripes of the features are masked, so that a model relies on none of
them."""

from __future__ import annotations

import paddle

from vprtrain.errors import require_number, require_whole
from vprtrain.layers.precision import full_precision
from vprtrain.spec import Specified

_MOST_WIDTH = 2**24  # float32 counts frames to here
_MOST_MASKS = 1000


class SpecAugment(Specified, paddle.nn.Layer):
    """Time and frequency masks over a batch of features, in training mode only
    (https://arxiv.org/abs/1904.08779).

    ``forward(features, lengths=None)`` sets stripes of features ``[batch, frames, size]`` to zero,
    which is the mean if the features are mean-normalised. An utterance is masked with probability
    ``prob``, and then by ``num_time_masks`` and ``num_freq_masks`` masks. A mask is 0 to
    ``max_time_mask`` frames or 0 to ``max_freq_mask`` features wide; width and place are uniform,
    within the utterance's real frames (``lengths`` ``[batch]``, int64; ``None``: no padding). The
    defaults are WeSpeaker's, whose masks are 1 to the maximum wide, start anywhere and are cut at
    the end; its published configurations use none.

    All masks are drawn on the device from Paddle's generator, without synchronisation: the engine's
    seed of the step determines them.

    Raises:
        UsageError: an argument is out of range.
    """

    def __init__(
        self,
        *,
        max_time_mask: int = 10,
        max_freq_mask: int = 8,
        num_time_masks: int = 1,
        num_freq_masks: int = 1,
        prob: float = 0.6,
    ) -> None:
        super().__init__()
        require_whole("max_time_mask", max_time_mask, 0, _MOST_WIDTH)
        require_whole("max_freq_mask", max_freq_mask, 0, _MOST_WIDTH)
        require_whole("num_time_masks", num_time_masks, 0, _MOST_MASKS)
        require_whole("num_freq_masks", num_freq_masks, 0, _MOST_MASKS)
        require_number("prob", prob, least=0, most=1)
        self.max_time_mask = max_time_mask
        self.max_freq_mask = max_freq_mask
        self.num_time_masks = num_time_masks
        self.num_freq_masks = num_freq_masks
        self.prob = prob

    @paddle.no_grad()
    def forward(
        self, features: paddle.Tensor, lengths: paddle.Tensor | None = None
    ) -> paddle.Tensor:
        if not self.training:
            return features
        batch, frames, size = features.shape
        with full_precision():  # half precision cannot count frames beyond 2048
            chosen = (paddle.rand([batch, 1]) < self.prob).astype("float32")
            real = float(frames) if lengths is None else lengths.reshape([-1, 1]).astype("float32")
            kept_frames = 1 - chosen * _stripes(
                batch, frames, real, self.num_time_masks, self.max_time_mask
            )
            kept_values = 1 - chosen * _stripes(
                batch, size, float(size), self.num_freq_masks, self.max_freq_mask
            )
            return features * (kept_frames.unsqueeze(2) * kept_values.unsqueeze(1)).astype(
                features.dtype
            )


def _stripes(
    batch: int, size: int, extent: paddle.Tensor | float, count: int, widest: int
) -> paddle.Tensor:
    """float32 ``[batch, size]``: 1 inside any of ``count`` random stripes within ``extent``, else
    0."""
    width, place = paddle.rand([2, batch, count])
    width = paddle.floor(width * (widest + 1))
    start = paddle.floor(place * ((extent - width).clip(min=0) + 1))
    position = paddle.arange(size, dtype="float32")
    inside = (position >= start.unsqueeze(2)) & (position < (start + width).unsqueeze(2))
    return inside.any(axis=1).astype("float32")
