"""Averaging the weights of several checkpoints into a new one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import paddle

from vprtrain.checkpoint.arrays import Arrays
from vprtrain.checkpoint.file_names import CONFIG_FILE, MODEL_FILE
from vprtrain.checkpoint.links import LAST, require_new_checkpoint, resolve_checkpoint
from vprtrain.checkpoint.snapshot import Snapshot, layer_arrays, load_layer
from vprtrain.checkpoint.state_file import SavedCheckpoint, open_checkpoint
from vprtrain.checkpoint.store import Store
from vprtrain.errors import RunError, UsageError
from vprtrain.layers import paddle_internals
from vprtrain.layers.blocks import BATCH_NORMS
from vprtrain.speaker.data import SpeakerBatch
from vprtrain.speaker.module import SpeakerModule


def choose_checkpoints(names: Sequence[str], run_dir: Path) -> list[SavedCheckpoint]:
    """The checkpoints that names stand for, without duplicates, the newest last.

    Args:
        names: ``last-N`` for the N newest generations of ``run_dir``; or names of generations of
            ``run_dir`` and paths of other checkpoints.
        run_dir: the run directory.

    Raises:
        UsageError: ``run_dir`` has too few generations, or a name is not a checkpoint.
        CheckpointError: a checkpoint is damaged.
    """
    if len(names) == 1 and names[0].startswith("last-"):
        count = names[0].removeprefix("last-")
        if not count.isdecimal() or int(count) < 1:
            raise UsageError(
                f"{names[0]!r} is not a number of checkpoints: expected last-N, for example last-10"
            )
        generations = Store(run_dir).generations()
        if len(generations) < int(count):
            raise UsageError(
                f"{run_dir} has {len(generations)} generations, expected at least {count}: average "
                "fewer, or train with a Checkpoint callback that keeps more"
            )
        return [open_checkpoint(folder) for folder in generations[-int(count) :]]
    places = (run_dir / name if (run_dir / name).exists() else Path(name) for name in names)
    chosen = {
        saved.folder: saved
        for saved in (resolve_checkpoint(place, prefer=LAST) for place in places)
    }
    return sorted(chosen.values(), key=lambda saved: (saved.state.step, saved.folder))


def average(
    checkpoints: Sequence[SavedCheckpoint],
    out_dir: Path,
    *,
    batches: Iterable[SpeakerBatch] | None = None,
) -> None:
    """Write a checkpoint with the mean of the trained weights; the rest is the last checkpoint's.

    The mean is computed in float64 and rounded once. Arrays that are not floating-point are the
    last checkpoint's. The running statistics of batch norm are averaged like weights, or estimated
    again. The new checkpoint was never validated, so its metrics are null. It has no optimizer
    state, so it can be used or trained further as a new run, but not resumed.

    Args:
        checkpoints: of one model. Of a checkpoint that also has averaged weights (EMA), the trained
            ones are used.
        out_dir: the new folder; it appears complete or not at all.
        batches: training batches from which the statistics of batch norm are estimated; ``None``
            averages the statistics.

    Raises:
        UsageError: ``out_dir`` exists, or the checkpoints are not of one model.
        CheckpointError: a file is damaged.
        RunError: ``out_dir`` cannot be written.
    """
    require_new_checkpoint(out_dir)
    newest = checkpoints[-1]
    _refuse_other_models(checkpoints)
    arrays = _mean(checkpoints)
    if batches is not None:
        module = SpeakerModule.from_checkpoint(newest)
        load_layer(module, arrays, f"the mean of {len(checkpoints)} checkpoints")
        reestimate_batch_norm(module, batches)
        arrays = layer_arrays(module)
    origin = {
        "checkpoints": [saved.folder.name for saved in checkpoints],
        "weights_sha256": [saved.state.files[MODEL_FILE] for saved in checkpoints],
        "batch_norm": "averaged" if batches is None else "re-estimated",
    }
    snapshot = Snapshot(
        name=out_dir.name,
        state=newest.state.derived(averaged_from=origin),
        arrays={MODEL_FILE: arrays},
        texts={CONFIG_FILE: newest.read(CONFIG_FILE).decode()},
    )
    try:
        snapshot.save(out_dir)
    except OSError as error:
        raise RunError(
            f"{out_dir} cannot be written ({error}): free space, or give another folder"
        ) from error
    open_checkpoint(out_dir)


@paddle.no_grad()
def reestimate_batch_norm(module: SpeakerModule, batches: Iterable[SpeakerBatch]) -> int:
    """Set the running statistics of every batch norm to their means over some batches.

    The batches are embedded in training mode, so dropout is active as it was when the weights were
    trained. Afterwards the module is in evaluation mode.

    Returns:
        The number of batches.

    Raises:
        UsageError: there is no batch.
    """
    norms = [layer for layer in module.sublayers() if isinstance(layer, BATCH_NORMS)]
    momenta = [paddle_internals.momentum(norm) for norm in norms]
    count = 0
    module.train()
    for count, batch in enumerate(batches, 1):
        for norm in norms:
            # Paddle's momentum is the weight of the old value, so this gives a plain mean.
            paddle_internals.set_momentum(norm, 1 - 1 / count)
        module.embed(batch.waveforms)
    module.eval()
    for norm, momentum in zip(norms, momenta, strict=True):
        paddle_internals.set_momentum(norm, momentum)
    if not count:
        raise UsageError(
            "there is no batch to estimate the statistics of batch norm: give more utterances"
        )
    return count


def _mean(checkpoints: Sequence[SavedCheckpoint]) -> Arrays:
    """The mean of the trained weights; only one checkpoint is in memory at a time."""
    newest = checkpoints[-1].arrays(MODEL_FILE)
    sums = {
        name: np.zeros(value.shape)
        for name, value in newest.items()
        if np.issubdtype(value.dtype, np.floating)
    }
    for saved in checkpoints:
        arrays = saved.arrays(MODEL_FILE)
        if _shapes_and_dtypes(arrays) != _shapes_and_dtypes(newest):
            raise UsageError(
                f"{saved.folder} has other weights than {checkpoints[-1].folder}: "
                "expected checkpoints of one model"
            )
        for name, total in sums.items():
            total += arrays[name]
    means = {
        name: (total / len(checkpoints)).astype(newest[name].dtype) for name, total in sums.items()
    }
    return {name: means.get(name, value) for name, value in newest.items()}


def _shapes_and_dtypes(arrays: Arrays) -> dict[str, tuple[tuple[int, ...], np.dtype]]:
    return {name: (value.shape, value.dtype) for name, value in arrays.items()}


def _refuse_other_models(checkpoints: Sequence[SavedCheckpoint]) -> None:
    newest = checkpoints[-1]
    for saved in checkpoints:
        for part in ("model", "feature", "head"):
            if saved.state.own.get(part) != newest.state.own.get(part):
                raise UsageError(
                    f"{saved.folder} has another {part} than {newest.folder}: "
                    "expected checkpoints of one model"
                )
