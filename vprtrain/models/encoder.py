"""What every speaker encoder promises."""

from __future__ import annotations

import paddle

from vprtrain.errors import UsageError
from vprtrain.spec import Specified


class SpeakerEncoder(Specified, paddle.nn.Layer):
    """A network from feature frames to one embedding an utterance. A subclass implements
    :meth:`encode`.

    ``forward(features, lengths=None)`` maps features ``[batch, frames, input_size]`` (float32) to
    embeddings ``[batch, embedding_dim]``, not normalised. ``lengths`` ``[batch]`` (int64) counts
    each utterance's real frames; what stands behind them is padding, may be any finite number and
    has no influence in evaluation mode: the embedding is that of the utterance alone. (In training
    mode the batch statistics of batch normalisation take the padding in.) ``None`` says that all
    frames are real, and costs no mask.

    Fewer than ``min_frames`` frames raise :class:`UsageError`; a *length* below it is not looked at
    (that would wait for the device) and gives a finite embedding without meaning.
    """

    def __init__(self, *, input_size: int, embedding_dim: int, min_frames: int) -> None:
        super().__init__()
        self.input_size = input_size
        self.embedding_dim = embedding_dim
        self.min_frames = min_frames

    def forward(
        self, features: paddle.Tensor, lengths: paddle.Tensor | None = None
    ) -> paddle.Tensor:
        # While a graph is traced for export the number of frames is not known.
        if paddle.in_dynamic_mode():
            self._check(features.shape)
        return self.encode(features.transpose([0, 2, 1]), lengths)

    def encode(self, x: paddle.Tensor, lengths: paddle.Tensor | None) -> paddle.Tensor:
        """Embeddings ``[batch, embedding_dim]`` of checked features ``[batch, input_size,
        frames]``."""
        raise NotImplementedError(f"{type(self).__name__} has no encode")

    def _check(self, shape: list[int]) -> None:
        if len(shape) != 3 or shape[1] < self.min_frames or shape[2] != self.input_size:
            raise UsageError(
                f"{type(self).__name__} was given features of shape {list(shape)}, expected [batch, frames, "
                f"{self.input_size}] with at least {self.min_frames} frames: use longer audio, or make the "
                "model's input_size equal to the feature's output_size"
            )
