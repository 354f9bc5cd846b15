"""A checkpoint in ONNX Runtime: converted once, compared with Paddle, and kept for the next
start."""

from __future__ import annotations

import logging
import os
import platform
import re
import stat
import tempfile
from contextlib import suppress
from importlib import metadata, util
from pathlib import Path

import paddle

from vprtrain import runtime
from vprtrain.checkpoint.state_file import SavedCheckpoint, open_checkpoint
from vprtrain.errors import VprTrainError
from vprtrain.evaluation.extraction import weights_sha256
from vprtrain.extractors.exported import ExportRecord
from vprtrain.extractors.exporting import export
from vprtrain.extractors.extractor import embedding_digest
from vprtrain.extractors.onnx import OnnxExtractor, runs_on_cpu
from vprtrain.extractors.onnx_writing import require_onnx_packages
from vprtrain.files import file_sha256, remove_tree, sha256
from vprtrain.speaker.state import SpeakerState, audio_format

CACHE = "VPRTRAIN_CACHE"
"""The environment variable with the folder for converted models."""
LEAST_BYTES = 2_000_000
"""Of the weights. Smaller networks run in Paddle: the conversion would take longer than it
saves."""
_MOST_KEPT = 8
_TEMPORARY = "vprtrain-"
_OURS = re.compile(rf"[0-9a-f]{{32}}|{_TEMPORARY}.*")
"""The names that this module gives. Nothing else in the folder is removed."""
_NEEDED = ("onnxruntime", "onnx", "paddle2onnx")
_SOURCES = ("features", "layers", "models", "extractors")
_OF_OTHERS = stat.S_IWGRP | stat.S_IWOTH

log = logging.getLogger(__name__)


def convert_if_worth_it(
    saved: SavedCheckpoint, *, device: str, callers: int = 1
) -> OnnxExtractor | None:
    """The checkpoint in ONNX Runtime, if this is faster and possible; otherwise ``None``.

    It is on a CPU, for networks of half a million weights or more, of the classes of vprtrain, if
    the packages of the extra ``[onnx]`` are installed. The answer depends on nothing else: whether
    the model was converted earlier changes only how long this takes.

    Raises:
        UsageError: the device is not available.
        CheckpointError: the checkpoint is not a speaker model's.
    """
    runtime.use_device(device)
    if (
        paddle.get_device() != "cpu"
        or (saved.folder / saved.weights_file).stat().st_size < LEAST_BYTES
        or SpeakerState.of(saved).has_foreign_class
        or any(util.find_spec(name) is None for name in _NEEDED)
    ):
        return None
    try:
        return convert(saved, device="cpu", callers=callers)
    except VprTrainError as error:
        log.debug("%s is used with Paddle: %s", saved.folder, error)
        return None


def convert(saved: SavedCheckpoint, *, device: str, callers: int = 1) -> OnnxExtractor:
    """The checkpoint in ONNX Runtime, from an export that was compared with the checkpoint to 1e-4
    (:func:`vprtrain.extractors.exporting.export`). On a CPU, where waveforms are run one by one,
    its graph takes no lengths.

    The export is kept in the folder that ``VPRTRAIN_CACHE`` names, or in ``vprtrain/converted`` of
    the user's cache, under a digest of all that it depends on: weights, specifications, the code of
    the networks and of the export, the versions of the packages. The newest eight are kept. Those
    of a network with a class of the user are not, because the class may change. Where nothing can
    be written, or where another user could put a model of theirs, the model is converted anew at
    every start.

    Raises:
        UsageError: a package is not installed.
        CheckpointError: the checkpoint is not a speaker model's.
        RunError: the model cannot be converted, or gives other embeddings.
    """
    require_onnx_packages("float32")
    lengths = not runs_on_cpu(device)
    folder = None if SpeakerState.of(saved).has_foreign_class else _place(saved, lengths)
    if folder is not None and (kept := _opened(folder, saved, device, callers)) is not None:
        return kept
    with tempfile.TemporaryDirectory(prefix=_TEMPORARY, dir=_writable(folder)) as temporary:
        made = Path(temporary, "model")
        export(saved, made, format="onnx", lengths=lengths)
        extractor = OnnxExtractor(open_checkpoint(made), device=device, callers=callers)
        if folder is not None:
            _keep(made, folder)
    return extractor


def _opened(
    folder: Path, saved: SavedCheckpoint, device: str, callers: int
) -> OnnxExtractor | None:
    """The export of an earlier start; ``None`` if there is none, or it is damaged."""
    if not folder.is_dir() or not _is_safe(folder):
        return None
    try:
        if not all(_is_safe(file) for file in folder.iterdir()):
            return None
        kept = open_checkpoint(folder)
        if ExportRecord.read(kept).weights_sha256 != weights_sha256(saved):
            return None
        extractor = OnnxExtractor(kept, device=device, callers=callers)
    except (OSError, VprTrainError) as error:
        log.debug("%s is converted again: %s", saved.folder, error)
        return None
    extractor.state = SpeakerState.of(saved)  # the threshold may have been found since
    with suppress(OSError):
        os.utime(folder)
    return extractor


def _keep(made: Path, folder: Path) -> None:
    """Move an export to its place, and remove the exports that were used least recently."""
    try:
        with suppress(FileNotFoundError):
            remove_tree(folder)  # a damaged one
        for path in (made, *made.iterdir()):
            path.chmod(stat.S_IMODE(path.stat().st_mode) & ~_OF_OTHERS)
        os.rename(made, folder)
        ours = [entry for entry in folder.parent.iterdir() if _OURS.fullmatch(entry.name)]
        ours.sort(key=lambda entry: entry.lstat().st_mtime)
        for entry in ours[:-_MOST_KEPT]:
            remove_tree(entry)
    except OSError as error:  # another process does the same, or the folder cannot be written
        log.debug("%s is not kept: %s", folder, error)


def _writable(folder: Path | None) -> Path | None:
    """The parent of a folder, if it can be made and written; ``None`` stands for the system's
    folder for temporary files."""
    if folder is None:
        return None
    try:
        folder.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError:
        return None
    return folder.parent if os.access(folder.parent, os.W_OK) else None


def _is_safe(path: Path) -> bool:
    """Whether only the user and root can have made, and can change, what is at a path. In a folder
    with the sticky bit (``/tmp``), others cannot change what they did not make."""
    found = path.lstat()
    sticky = stat.S_ISDIR(found.st_mode) and found.st_mode & stat.S_ISVTX
    return (
        found.st_uid in (0, os.geteuid())
        and not stat.S_ISLNK(found.st_mode)
        and (bool(sticky) or not found.st_mode & stat.S_IWOTH)
    )


def _place(saved: SavedCheckpoint, lengths: bool) -> Path | None:
    """Where the export is kept; ``None`` if others could put a model of theirs there."""
    cache = _cache()
    if cache.exists() and not _is_safe(cache):
        log.warning(
            "%s is not used: other users can write to it; give another folder (%s)", cache, CACHE
        )
        return None
    return cache / _key(saved, lengths)


def _cache() -> Path:
    if chosen := os.environ.get(CACHE):
        return Path(os.path.realpath(chosen))
    home = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return Path(os.path.realpath(home), "vprtrain", "converted")


def _key(saved: SavedCheckpoint, lengths: bool) -> str:
    """The digest of all that an export and its comparison depend on."""
    import onnxruntime

    package = Path(__file__).parent.parent
    sources = sorted(path for room in _SOURCES for path in (package / room).glob("*.py"))
    embeddings = embedding_digest(
        SpeakerState.of(saved),
        weights_sha256=weights_sha256(saved),
        sample_rate=audio_format(saved).sample_rate,
    )
    parts = [
        embeddings,
        f"lengths: {lengths}",
        platform.machine(),
        onnxruntime.__version__,
        paddle.__version__,
        *(metadata.version(name) for name in ("onnx", "paddle2onnx")),
        *(file_sha256(path) for path in sources),
    ]
    return sha256("\n".join(parts).encode())[:32]
