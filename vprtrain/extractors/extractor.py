"""The protocol of everything that turns waveforms into embeddings."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal, Protocol

import numpy as np

from vprtrain.files import sha256

if TYPE_CHECKING:  # importing the module imports Paddle
    from vprtrain.speaker.state import SpeakerState

STATIC_FILE = "inference.json"
"""The static Paddle graph of an exported model."""
ONNX_FILE = "inference.onnx"
"""The ONNX model of an exported model."""

Runtime = Literal["auto", "paddle", "onnx"]
"""What computes embeddings: Paddle, ONNX Runtime, or the faster one that can be used."""


class Extractor(Protocol):
    """A model in use. Several threads may call it."""

    state: SpeakerState
    """The speaker module's keys of ``model.state``, with the threshold."""
    sample_rate: int
    """The sample rate of the waveforms, in Hz."""
    min_samples: int
    """The least length of a waveform, in samples."""
    embedding_dim: int
    runtime: str
    """What computes the embeddings, with its version: "paddle 3.3.1" or "onnxruntime 1.20.0". The
    embeddings of two runtimes differ in their last digits, by 1e-4 of the largest value at most."""
    threads: int
    """How many threads that call it at once get further than one."""
    digest: str
    """The digest of :func:`embedding_digest`. Only embeddings of extractors with equal digests can
    be compared. An exported model has the digest of its checkpoint."""

    def embed(self, waveforms: Sequence[np.ndarray]) -> np.ndarray:
        """Embeddings, float32 ``[len(waveforms), embedding_dim]``, not normalised.

        Args:
            waveforms: at least one, float32 ``[samples]`` in [-1, 1], of any lengths. The
                embedding of a waveform does not depend on the others, except for rounding.
        """


def embedding_digest(state: SpeakerState, *, weights_sha256: str, sample_rate: int) -> str:
    """The SHA-256 of all that determines the embeddings, as a hexadecimal text: the construction of
    the encoder and of the feature, the weights, and the sample rate.

    Args:
        state: the checkpoint's speaker state, of which ``model`` and ``feature`` are used.
        weights_sha256: the digest of the weights file that is used.
        sample_rate: of the waveforms, in Hz.
    """
    about = {
        "model": state.model,
        "feature": state.feature,
        "weights": weights_sha256,
        "rate": sample_rate,
    }
    return sha256(json.dumps(about, sort_keys=True).encode())


def padded(waveforms: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Waveforms as one batch, float32 ``[batch, samples]``, and their lengths, int64 ``[batch]``.
    Shorter waveforms are zero-padded at the end."""
    lengths = np.array([len(waveform) for waveform in waveforms], dtype=np.int64)
    batch = np.zeros((len(waveforms), lengths.max()), dtype=np.float32)
    for row, waveform in zip(batch, waveforms, strict=True):
        row[: len(waveform)] = waveform
    return batch, lengths
