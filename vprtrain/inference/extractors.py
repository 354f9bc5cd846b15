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
        device: "cpu", "gpu" or "gpu:N"; ``None`` and "auto" leave the choice to the runtime that computes.

    Raises:
        UsageError: there is no model, or no such device here.
        CheckpointError: it is damaged, or not a speaker model's.
    """
    saved = resolve_checkpoint(path, prefer=BEST)
    for name, open_kind in _KINDS.items():
        if saved.has(name):
            return open_kind(saved, device or "auto")
    raise CheckpointError(f"{saved.folder} holds no model: expected one of {', '.join(_KINDS)} beside its model.state")


def embedding_digest(state: Mapping[str, Any], *, weights_sha256: str, sample_rate: int) -> str:
    """SHA-256 of the encoder's and the feature's construction, the weights and the sample rate, as a hex string.

    Args:
        state: with ``model`` and ``feature``, as ``model.state`` has them.
        weights_sha256: of the file of weights that the checkpoint is used with.
    """
    about = {"model": state["model"], "feature": state["feature"], "weights": weights_sha256, "rate": sample_rate}
    return sha256(json.dumps(about, sort_keys=True).encode())


def _open_checkpoint(saved: SavedCheckpoint, device: str) -> Extractor:
    from vprtrain.inference.checkpoint_extractor import CheckpointExtractor

    return CheckpointExtractor(saved, device=device)


_KINDS: dict[str, Callable[[SavedCheckpoint, str], Extractor]] = {MODEL_FILE: _open_checkpoint}
"""By the file that only this kind of model has"""
