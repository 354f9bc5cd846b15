"""The interface of every speaker encoder."""

from __future__ import annotations

from collections.abc import Sequence

import paddle

from vprtrain.errors import UsageError, require_whole, shown
from vprtrain.layers.sizes import require_channels
from vprtrain.spec import Specified

MOST_STAGES = 12
MOST_BLOCKS = 256
"""The most blocks of all stages: a model is built block by block."""


class SpeakerEncoder(Specified, paddle.nn.Layer):
    """A network from feature frames to one embedding per utterance. A subclass implements
    :meth:`encode`.

    ``forward(features, lengths=None)`` maps features ``[batch, frames, input_size]`` (float32) to
    embeddings ``[batch, embedding_dim]``, not normalised. ``lengths`` ``[batch]`` (int64) is each
    utterance's number of real frames. The frames after it are padding (any finite numbers) and are
    ignored in evaluation mode: the embedding equals that of the utterance alone. (In training mode
    the statistics of batch normalisation include the padding.) ``None`` means that there is no
    padding, and saves the mask.

    A *length* below ``min_frames`` is not checked (that would synchronise with the device) and
    gives a finite but meaningless embedding.

    Raises:
        UsageError: a size is out of its range, or the features have fewer than ``min_frames``
            frames.
    """

    def __init__(self, *, input_size: int, embedding_dim: int, min_frames: int) -> None:
        require_channels(input_size=input_size, embedding_dim=embedding_dim)
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
                f"{type(self).__name__} was given features of shape {list(shape)}, expected "
                "[batch, frames, "
                ""
                f"{self.input_size}] with at least {self.min_frames} frames: use longer audio, or "
                "make the "
                ""
                "model's input_size equal to the feature's output_size"
            )


def require_stages(name: str, counts: object, least: int) -> None:
    """Refuse an option that is not a number for each of 1 to :data:`MOST_STAGES` stages.

    Raises:
        UsageError: ``counts`` is not a sequence of whole numbers from ``least`` on, or their sum is
            above :data:`MOST_BLOCKS`.
    """
    if not isinstance(counts, Sequence) or not 1 <= len(counts) <= MOST_STAGES:
        raise UsageError(
            f"{name} is {shown(counts)}; expected a list of 1 to {MOST_STAGES} whole numbers"
        )
    for count in counts:
        require_whole(f"a value of {name}", count, least, MOST_BLOCKS)
    require_whole(f"the sum of {name}", sum(counts), 0, MOST_BLOCKS)
