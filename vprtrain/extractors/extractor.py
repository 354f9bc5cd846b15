"""What turns waveforms into embeddings, in whichever form the model was saved."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

import numpy as np

from vprtrain.files import sha256

if TYPE_CHECKING:  # importing the module imports Paddle
    from vprtrain.speaker.state import SpeakerState

STATIC_FILE = "inference.json"
ONNX_FILE = "inference.onnx"


class Extractor(Protocol):
    """A model ready for use; it may be called from several threads."""

    state: SpeakerState
    """What ``model.state`` says of the model, its threshold among it"""
    sample_rate: int
    """Of the waveforms that it takes, in Hz"""
    min_samples: int
    """The shortest waveform that it takes"""
    embedding_dim: int
    digest: str
    """Of all that decides what the embeddings are, by :func:`embedding_digest`: they compare with
    those of the same digest only. An exported model has its checkpoint's."""

    def embed(self, waveforms: Sequence[np.ndarray]) -> np.ndarray:
        """Embeddings, float32 ``[len(waveforms), embedding_dim]``, not normalised.

        Args:
            waveforms: at least one, float32 ``[samples]`` in [-1, 1], each of its own length; each
                embedding is the one that its waveform has alone (to rounding).
        """


def embedding_digest(state: SpeakerState, *, weights_sha256: str, sample_rate: int) -> str:
    """SHA-256 of the encoder's and the feature's construction, the weights and the sample rate, as
    a hex string.

    Args:
        state: the checkpoint's; its ``model`` and ``feature`` count.
        weights_sha256: of the file of weights that the checkpoint is used with.
    """
    about = {
        "model": state.model,
        "feature": state.feature,
        "weights": weights_sha256,
        "rate": sample_rate,
    }
    return sha256(json.dumps(about, sort_keys=True).encode())


def padded(waveforms: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Waveforms as one batch, float32 ``[batch, samples]`` with zeros behind the shorter ones, and
    their lengths."""
    lengths = np.array([len(waveform) for waveform in waveforms], dtype=np.int64)
    batch = np.zeros((len(waveforms), lengths.max()), dtype=np.float32)
    for row, waveform in zip(batch, waveforms, strict=True):
        row[: len(waveform)] = waveform
    return batch, lengths
