"""Opening any saved model. The runtime of each form of model is imported on demand."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from vprtrain.checkpoint.links import BEST, resolve_checkpoint
from vprtrain.checkpoint.snapshot import MODEL_FILE
from vprtrain.checkpoint.state_file import SavedCheckpoint
from vprtrain.errors import CheckpointError
from vprtrain.extractors.extractor import ONNX_FILE, STATIC_FILE, Extractor


def open_extractor(path: Path, device: str | None = None) -> Extractor:
    """Open the model at a path from a user.

    Args:
        path: a run directory (its best_model is used), a generation, or an exported model's folder;
            or, to choose one form of an exported model, its file (``inference.onnx``).
        device: "cpu", "gpu" or "gpu:N". With ``None`` or "auto" the runtime chooses.

    Raises:
        UsageError: there is no model, or the device is not available.
        CheckpointError: the model is damaged, or is not a speaker model.
    """
    saved = resolve_model(path)
    for name in [path.name] if _names_a_form(path) else _KINDS:
        if saved.has(name):
            return _KINDS[name](saved, device or "auto")
    raise CheckpointError(
        f"{saved.folder} holds no model: expected one of {', '.join(_KINDS)} beside its model.state"
    )


def resolve_model(path: Path) -> SavedCheckpoint:
    """The checkpoint or exported model at a path that :func:`open_extractor` takes.

    Raises:
        UsageError: there is none.
        CheckpointError: its state is damaged.
    """
    return resolve_checkpoint(path.parent if _names_a_form(path) else path, prefer=BEST)


def _names_a_form(path: Path) -> bool:
    return path.name in _KINDS and path.is_file()


def _open_checkpoint(saved: SavedCheckpoint, device: str) -> Extractor:
    from vprtrain.extractors.checkpoint import CheckpointExtractor

    return CheckpointExtractor(saved, device=device)


def _open_static(saved: SavedCheckpoint, device: str) -> Extractor:
    from vprtrain.extractors.static import StaticExtractor

    return StaticExtractor(saved, device=device)


def _open_onnx(saved: SavedCheckpoint, device: str) -> Extractor:
    from vprtrain.extractors.onnx import OnnxExtractor

    return OnnxExtractor(saved, device=device)


_KINDS: dict[str, Callable[[SavedCheckpoint, str], Extractor]] = {
    MODEL_FILE: _open_checkpoint,
    STATIC_FILE: _open_static,
    ONNX_FILE: _open_onnx,
}
"""The opening function of each form, by the file that only this form has."""
