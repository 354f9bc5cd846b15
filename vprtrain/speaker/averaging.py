"""One checkpoint whose weights are the mean of several."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import paddle

from vprtrain.checkpoint.arrays import Arrays
from vprtrain.checkpoint.snapshot import CONFIG_FILE, MODEL_FILE, Snapshot, layer_arrays, load_layer
from vprtrain.checkpoint.state_file import SavedCheckpoint, open_checkpoint
from vprtrain.checkpoint.store import LAST, Store, resolve_checkpoint
from vprtrain.errors import RunError, UsageError
from vprtrain.files import write_folder
from vprtrain.layers import paddle_internals
from vprtrain.layers.blocks import BATCH_NORMS
from vprtrain.speaker.data import SpeakerBatch
from vprtrain.speaker.module import SpeakerModule


def choose_checkpoints(names: Sequence[str], run_dir: Path) -> list[SavedCheckpoint]:
    """The checkpoints that are meant, each once and the newest last.

    Args:
        names: ``last-N`` for the N newest generations of ``run_dir``; or generations of it by name,
            or paths of checkpoints anywhere.

    Raises:
        UsageError: there are not so many generations, or something named is not a checkpoint.
        CheckpointError: one of them is damaged.
    """
    if len(names) == 1 and names[0].startswith("last-"):
        count = names[0].removeprefix("last-")
        if not count.isdecimal() or int(count) < 1:
            raise UsageError(
                f"{names[0]!r} is not a number of checkpoints: expected last-N, as in last-10"
            )
        generations = Store(run_dir).generations()
        if len(generations) < int(count):
            raise UsageError(
                f"{run_dir} has {len(generations)} generations, expected at least {count}: average fewer of them, or "
                "train with a Checkpoint callback that keeps more"
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
    """Make a checkpoint of the mean of the trained weights, with everything else as in the last of
    them.

    The mean is taken in float64 and rounded once; what is not a floating-point number is the last
    one's. The running statistics of batch norm are averaged like weights, or estimated anew. The
    new checkpoint was never validated, so its metrics are null, and it holds no optimizer state: it
    is to be used, or to start from, not to be resumed.

    Args:
        checkpoints: of one model; of those with averaged weights beside the trained ones (EMA) the
            trained ones count.
        out_dir: the new folder; it appears whole or not at all.
        batches: training batches, over all of which the statistics of batch norm are estimated;
            ``None`` averages them.

    Raises:
        UsageError: ``out_dir`` is there already, or the checkpoints are not of one model.
        CheckpointError: a file is torn.
        RunError: ``out_dir`` cannot be written.
    """
    if out_dir.exists():
        raise UsageError(f"{out_dir} is there already: give a new folder")
    if (out_dir.parent / LAST).exists() and out_dir.name.startswith(("epoch_", "step_")):
        raise UsageError(
            f"{out_dir} would be taken for a generation of that run: give it another name"
        )
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
        write_folder(out_dir, snapshot.files())
    except OSError as error:
        raise RunError(
            f"{out_dir} cannot be written ({error}): make room, or give another folder"
        ) from error
    open_checkpoint(out_dir)


@paddle.no_grad()
def reestimate_batch_norm(module: SpeakerModule, batches: Iterable[SpeakerBatch]) -> int:
    """Set the running statistics of every batch norm to their plain means over some batches; how
    many there were.

    The module is in training mode meanwhile, so dropout acts as it did when the weights were
    trained, and in evaluation mode afterwards.

    Raises:
        UsageError: there is no batch.
    """
    norms = [layer for layer in module.sublayers() if isinstance(layer, BATCH_NORMS)]
    momenta = [paddle_internals.momentum(norm) for norm in norms]
    count = 0
    module.train()
    for count, batch in enumerate(batches, 1):
        for norm in norms:
            # Paddle's momentum is the share of what was there before
            paddle_internals.set_momentum(norm, 1 - 1 / count)
        module.embed(batch.waveforms)
    module.eval()
    for norm, momentum in zip(norms, momenta, strict=True):
        paddle_internals.set_momentum(norm, momentum)
    if not count:
        raise UsageError(
            "there is no batch to estimate the statistics of batch norm from: give more utterances"
        )
    return count


def _mean(checkpoints: Sequence[SavedCheckpoint]) -> Arrays:
    """Of the trained weights; one checkpoint after the other is in memory."""
    newest = checkpoints[-1].arrays(MODEL_FILE)
    sums = {
        name: np.zeros(value.shape)
        for name, value in newest.items()
        if np.issubdtype(value.dtype, np.floating)
    }
    for saved in checkpoints:
        arrays = saved.arrays(MODEL_FILE)
        if _forms(arrays) != _forms(newest):
            raise UsageError(
                f"{saved.folder} has other weights than {checkpoints[-1].folder}: expected one model's"
            )
        for name, total in sums.items():
            total += arrays[name]
    means = {
        name: (total / len(checkpoints)).astype(newest[name].dtype) for name, total in sums.items()
    }
    return {name: means.get(name, value) for name, value in newest.items()}


def _forms(arrays: Arrays) -> dict[str, tuple[tuple[int, ...], np.dtype]]:
    return {name: (value.shape, value.dtype) for name, value in arrays.items()}


def _refuse_other_models(checkpoints: Sequence[SavedCheckpoint]) -> None:
    newest = checkpoints[-1]
    for saved in checkpoints:
        for part in ("model", "feature", "head"):
            if saved.state.own.get(part) != newest.state.own.get(part):
                raise UsageError(
                    f"{saved.folder} is of another {part} than {newest.folder}: expected one model's"
                )
