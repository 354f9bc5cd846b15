"""What turns waveforms into embeddings, in whichever form the model was saved."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from vprtrain.checkpoint.files import sha256
from vprtrain.checkpoint.snapshot import MODEL_FILE
from vprtrain.checkpoint.state_file import SavedCheckpoint
from vprtrain.checkpoint.store import BEST, resolve_checkpoint
from vprtrain.errors import CheckpointError

STATIC_FILE = "inference.json"
ONNX_FILE = "inference.onnx"


class Extractor(Protocol):
    """A model ready for use; it may be called from several threads."""

    state: Mapping[str, Any]
    """What ``model.state`` says: ``threshold``, ``model``, ``feature`` and more; not to be changed"""
    sample_rate: int
    """Of the waveforms that it takes, in Hz"""
    min_samples: int
    """The shortest waveform that it takes"""
    embedding_dim: int
    digest: str
    """Of all that decides what the embeddings are, by :func:`embedding_digest`: they compare with those of the same
    digest only. An exported model has its checkpoint's."""

    def embed(self, waveforms: Sequence[np.ndarray]) -> np.ndarray:
        """Embeddings, float32 ``[len(waveforms), embedding_dim]``, not normalised.

        Args:
            waveforms: at least one, float32 ``[samples]`` in [-1, 1], each of its own length; each embedding is the
                one that its waveform has alone (to rounding).
        """


def open_extractor(path: Path, device: str | None = None) -> Extractor:
    """Open what a user named: a run directory (its best model), a generation of it, or an exported model.

    Args:
        path: the folder; or a file in it that only one kind of model has (``inference.onnx``), to say which is meant.
        device: "cpu", "gpu" or "gpu:N"; ``None`` and "auto" leave the choice to the runtime that computes.

    Raises:
        UsageError: there is no model, or no such device here.
        CheckpointError: it is damaged, or not a speaker model's.
    """
    named = path.name in _KINDS and path.is_file()
    saved = resolve_checkpoint(path.parent if named else path, prefer=BEST)
    for name in [path.name] if named else _KINDS:
        if saved.has(name):
            return _KINDS[name](saved, device or "auto")
    raise CheckpointError(f"{saved.folder} holds no model: expected one of {', '.join(_KINDS)} beside its model.state")


def embedding_digest(state: Mapping[str, Any], *, weights_sha256: str, sample_rate: int) -> str:
    """SHA-256 of the encoder's and the feature's construction, the weights and the sample rate, as a hex string.

    Args:
        state: with ``model`` and ``feature``, as ``model.state`` has them.
        weights_sha256: of the file of weights that the checkpoint is used with.
    """
    about = {"model": state["model"], "feature": state["feature"], "weights": weights_sha256, "rate": sample_rate}
    return sha256(json.dumps(about, sort_keys=True).encode())


def padded(waveforms: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Waveforms as one batch, float32 ``[batch, samples]`` with zeros behind the shorter ones, and their lengths."""
    lengths = np.array([len(waveform) for waveform in waveforms], dtype=np.int64)
    batch = np.zeros((len(waveforms), lengths.max()), dtype=np.float32)
    for row, waveform in zip(batch, waveforms, strict=True):
        row[: len(waveform)] = waveform
    return batch, lengths


def _open_checkpoint(saved: SavedCheckpoint, device: str) -> Extractor:
    from vprtrain.inference.checkpoint_extractor import CheckpointExtractor

    return CheckpointExtractor(saved, device=device)


def _open_static(saved: SavedCheckpoint, device: str) -> Extractor:
    from vprtrain.inference.static_extractor import StaticExtractor

    return StaticExtractor(saved, device=device)


def _open_onnx(saved: SavedCheckpoint, device: str) -> Extractor:
    from vprtrain.inference.onnx_extractor import OnnxExtractor

    return OnnxExtractor(saved, device=device)


_KINDS: dict[str, Callable[[SavedCheckpoint, str], Extractor]] = {
    MODEL_FILE: _open_checkpoint,
    STATIC_FILE: _open_static,
    ONNX_FILE: _open_onnx,
}
"""By the file that only this kind of model has"""
