"""Opening any saved model, with the runtime that is asked for or the fastest one that is
installed. Each runtime is imported on demand."""

from __future__ import annotations

import importlib.metadata
import importlib.util
from pathlib import Path
from typing import NamedTuple

from vprtrain.checkpoint.file_names import MODEL_FILE
from vprtrain.checkpoint.links import BEST, resolve_checkpoint
from vprtrain.checkpoint.state_file import SavedCheckpoint
from vprtrain.errors import CheckpointError, UsageError
from vprtrain.extractors.exported import ExportRecord
from vprtrain.extractors.extractor import ONNX_FILE, STATIC_FILE, Extractor, Runtime

_FORMS = (MODEL_FILE, STATIC_FILE, ONNX_FILE)
"""The file that each form of a model has and no other."""


class FoundModel(NamedTuple):
    """A saved model, and how it will be used. It is not open yet."""

    saved: SavedCheckpoint
    form: str
    """The file of the form that is used: of a checkpoint, a static Paddle model or an ONNX
    model."""
    device: str
    runtime: Runtime

    @property
    def needs_paddle(self) -> bool:
        """Whether :meth:`open` imports Paddle.

        Raises:
            CheckpointError: the record of an exported model is damaged.
        """
        return self.form != ONNX_FILE or ExportRecord.read(self.saved).input == "features"

    def open(self, *, converts: bool = True, callers: int = 1) -> Extractor:
        """Open the model.

        Args:
            converts: with the runtime "auto", whether a checkpoint may be converted to ONNX, which
                takes seconds when it is done first.
            callers: the threads that will call the extractor at once.

        Raises:
            UsageError: the device or the runtime is not available.
            CheckpointError: the model is damaged, or is not a speaker model.
        """
        if self.form == ONNX_FILE:
            from vprtrain.extractors.onnx import OnnxExtractor

            return OnnxExtractor(self.saved, device=self.device, callers=callers)
        if self.form == STATIC_FILE:
            from vprtrain.extractors.static import StaticExtractor

            return StaticExtractor(self.saved, device=self.device)
        return self._open_checkpoint(converts, callers)

    def _open_checkpoint(self, converts: bool, callers: int) -> Extractor:
        from vprtrain.extractors.checkpoint import CheckpointExtractor
        from vprtrain.extractors.converted import convert, convert_if_worth_it

        if self.runtime == "onnx":
            return convert(self.saved, device=self.device, callers=callers)
        converted = None
        if self.runtime == "auto" and converts:
            converted = convert_if_worth_it(self.saved, device=self.device, callers=callers)
        return converted or CheckpointExtractor(self.saved, device=self.device)


def open_extractor(
    path: Path,
    device: str | None = None,
    *,
    runtime: Runtime = "auto",
    converts: bool = True,
    callers: int = 1,
) -> Extractor:
    """Open the model at a path from a user.

    Args:
        path: a run directory (its best_model is used), a generation, or an exported model's folder;
            or, to choose one form of an exported model, its file (``inference.onnx``).
        device: "cpu", "gpu" or "gpu:N". With ``None`` or "auto" the runtime chooses.
        runtime: "paddle", "onnx" (ONNX Runtime), or "auto", the fastest one that is installed: of
            an exported model the ONNX form if it has one, of a checkpoint what
            :func:`vprtrain.extractors.converted.convert_if_worth_it` finds.
        converts, callers: as in :meth:`FoundModel.open`.

    Raises:
        UsageError: there is no model, or the device or the runtime is not available for it.
        CheckpointError: the model is damaged, or is not a speaker model.
    """
    return find_model(path, device, runtime=runtime).open(converts=converts, callers=callers)


def find_model(path: Path, device: str | None = None, *, runtime: Runtime = "auto") -> FoundModel:
    """Find the model at a path from a user, and choose its form.

    Args:
        path, device, runtime: as in :func:`open_extractor`.

    Raises:
        UsageError: there is no model, or none that the runtime can run.
        CheckpointError: the model is damaged.
    """
    saved, device = resolve_model(path), device or "auto"
    names = [path.name] if _names_a_form(path) else _FORMS
    forms = [name for name in names if saved.has(name)]
    if not forms:
        raise CheckpointError(
            f"{saved.folder} holds no model: expected one of {', '.join(_FORMS)} beside its "
            "model.state"
        )
    if MODEL_FILE in forms:
        return FoundModel(saved, MODEL_FILE, device, runtime)
    usable = [name for name in forms if name in _FORMS_OF[runtime]]
    if not usable:
        raise UsageError(
            f"{saved.folder} has {' and '.join(forms)}, which the runtime {runtime!r} cannot run: "
            "leave --runtime out, or export the checkpoint in the other format"
        )
    prefers_onnx = ONNX_FILE in usable and _is_onnx_faster(device)
    return FoundModel(saved, ONNX_FILE if prefers_onnx else usable[0], device, runtime)


def resolve_model(path: Path) -> SavedCheckpoint:
    """The checkpoint or exported model at a path that :func:`open_extractor` takes.

    Raises:
        UsageError: there is none.
        CheckpointError: its state is damaged.
    """
    return resolve_checkpoint(path.parent if _names_a_form(path) else path, prefer=BEST)


_FORMS_OF: dict[Runtime, tuple[str, ...]] = {
    "auto": (STATIC_FILE, ONNX_FILE),
    "paddle": (STATIC_FILE,),
    "onnx": (ONNX_FILE,),
}
"""The forms of an exported model that a runtime can run."""


def _names_a_form(path: Path) -> bool:
    return path.name in _FORMS and path.is_file()


def _is_onnx_faster(device: str) -> bool:
    """Whether ONNX Runtime runs a model of both forms faster: on a CPU it does, but not if Paddle
    may choose a GPU."""
    if importlib.util.find_spec("onnxruntime") is None:
        return False
    return device == "cpu" or (device == "auto" and not _is_paddle_for_gpus())


def _is_paddle_for_gpus() -> bool:
    """Whether the installed Paddle can use GPUs, without importing it."""
    try:
        importlib.metadata.version("paddlepaddle-gpu")
    except importlib.metadata.PackageNotFoundError:
        return False
    return True
