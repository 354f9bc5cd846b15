"""From a run to a checkpoint and back: what is saved, what a resume refuses, and which weights a
new run can start from."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import paddle

from vprtrain.checkpoint.arrays import Arrays
from vprtrain.checkpoint.file_names import CONFIG_FILE, MODEL_FILE, OPTIMIZER_FILE
from vprtrain.checkpoint.links import LAST, resolve_checkpoint
from vprtrain.checkpoint.snapshot import (
    Snapshot,
    blank_optimizer_arrays,
    layer_arrays,
    load_layer,
    load_optimizer,
    optimizer_arrays,
    unfit_names,
)
from vprtrain.checkpoint.state import CheckpointState, RunningLoss
from vprtrain.checkpoint.state_file import SavedCheckpoint, open_checkpoint
from vprtrain.checkpoint.store import Store
from vprtrain.engine.run import Run
from vprtrain.engine.stateful import require_json
from vprtrain.errors import CheckpointError, UsageError
from vprtrain.files import sha256
from vprtrain.ranks.ranks import Ranks
from vprtrain.spec import canonical

log = logging.getLogger(__name__)


def take_snapshot(run: Run) -> Snapshot:
    """A copy of everything that a run needs to resume from here."""
    progress, names = run.progress, run.module.metric_names
    at_epoch = progress.batch_in_epoch == 0 and progress.epoch > 0
    prints = fingerprints(run)
    state = CheckpointState(
        own=require_json(
            {**run.module.state_keys(), **run.data.state_keys()}, "state_keys() of module or data"
        ),
        last_epoch=progress.epoch,
        step=progress.step,
        batch_in_epoch=progress.batch_in_epoch,
        validation_pending=progress.validation_pending,
        metrics={name: run.metrics.get(name) for name in names},
        metrics_step=run.metrics_step,
        learning_rate=run.learning_rate,
        seed=run.settings.seed,
        world_size=run.ranks.size,
        running_loss=RunningLoss(**run.loss_meter.state_dict()),
        callbacks=run.callbacks.state(),
        config_sha256=_digest(prints["config"]),
        data_sha256=_digest(prints["data"]),
        fingerprint=prints,
    )
    return Snapshot(
        name=f"epoch_{progress.epoch}" if at_epoch else f"step_{progress.step}",
        state=state,
        arrays={
            MODEL_FILE: layer_arrays(run.module),
            OPTIMIZER_FILE: optimizer_arrays(run.stepper.optimizer, run.module),
        },
        texts={CONFIG_FILE: run.settings.config or json.dumps(prints, indent=2)},  # JSON is YAML
    )


def take_snapshot_for_rehearsal(run: Run) -> Snapshot:
    """A snapshot of the size that later ones will have: before the first step, zeros stand for what
    the optimizer will accumulate."""
    snapshot = take_snapshot(run)
    if run.progress.step == 0:
        unused = run.settings.optimizer.build(run.module.trained_parameters())
        snapshot.arrays[OPTIMIZER_FILE] = blank_optimizer_arrays(unused, run.module)
    return snapshot


def choose_checkpoint(
    store: Store | None, resume: str | Path, ranks: Ranks
) -> SavedCheckpoint | None:
    """The checkpoint to resume from, as ``fit``'s ``resume`` says; ``None`` for a new run.

    Rank 0, which has the store, chooses for all ranks.

    Raises:
        UsageError: the path is not a checkpoint of this run, or ``resume`` is ``"never"`` and the
            directory holds an earlier run.
    """
    chosen = None if store is None else _choose(store, resume)
    folder = ranks.exchange(None if chosen is None else str(chosen.folder.resolve()))[0]
    return chosen if ranks.is_first or folder is None else open_checkpoint(Path(folder))


def _choose(store: Store, resume: str | Path) -> SavedCheckpoint | None:
    if resume == "never":
        store.refuse_new_run()
        return None
    if resume == "auto":
        return store.newest()
    saved = resolve_checkpoint(Path(resume), prefer=LAST)
    if saved.folder not in [generation.resolve() for generation in store.generations()]:
        raise UsageError(
            f"{saved.folder} is not a generation of the run in {store.folder}: resume in its own "
            "run directory, or start a new run from its weights with --init_from"
        )
    return saved


def restore(run: Run, saved: SavedCheckpoint, *, accept_changes: bool) -> None:
    """Load everything but the position, which the ResumeStep callback restores.

    With accepted changes the settings of the run are the new ones. The checkpoint gives weights,
    the optimizer's accumulators, callback states and the newest metrics.

    Raises:
        UsageError: the checkpoint has another configuration, other data, other metrics, or other
            callbacks with a state.
    """
    run.opened = saved
    state, module = saved.state, run.module
    if state.fingerprint is None or state.running_loss is None or state.learning_rate is None:
        raise UsageError(
            f"{saved.folder} was not saved by a run and cannot be resumed: "
            "start a new run from its weights with --init_from"
        )
    old, new = canonical(state.fingerprint), fingerprints(run)
    _refuse_changes(run, saved, _differences(old, new), accept_changes)
    load_layer(module, saved.arrays(MODEL_FILE), str(saved.folder / MODEL_FILE))
    _restore_optimizer(
        run, saved, old.get("config", {}).get("optimizer", {}), new["config"]["optimizer"]
    )
    run.callbacks.load(state.callbacks)
    run.loss_meter.load_state_dict(asdict(state.running_loss))
    if state.metrics_step is not None:
        run.record_metrics(_measured(saved, module.metric_names), state.metrics_step)


def initialise(module: paddle.nn.Layer, saved: SavedCheckpoint) -> None:
    """Start a module from another run's weights. Tensors that do not fit keep their values and are
    listed in the log.

    Raises:
        UsageError: no tensor fits.
    """
    arrays = weights(saved)
    unfit = unfit_names(module, arrays)
    fitting = {
        name: tensor for name, tensor in module.state_dict().items() if name not in set(unfit)
    }
    if not fitting:
        raise UsageError(
            f"no array of {saved.folder} fits this module: expected a checkpoint of the same model"
        )
    for name, tensor in fitting.items():
        tensor.set_value(arrays[name])
    log.info(
        "initialised %d tensors from the %d arrays of %s", len(fitting), len(arrays), saved.folder
    )
    for name in unfit:
        log.info("not initialised (missing in the checkpoint, or of another shape): %s", name)


def weights(saved: SavedCheckpoint) -> Arrays:
    """The weights for using a checkpoint's model: the averaged ones if it has them."""
    return saved.arrays(saved.weights_file)


def load_weights(module: paddle.nn.Layer, saved: SavedCheckpoint) -> None:
    """Load a checkpoint's weights, averaged ones preferred, into a module of the same shapes."""
    load_layer(module, weights(saved), str(saved.folder))


def fingerprints(run: Run) -> dict[str, dict[str, Any]]:
    """What must be unchanged on a resume: all that can change the weights or the best record."""
    config = {
        "seed": run.settings.seed,
        "max_epochs": run.settings.max_epochs,
        "max_steps": run.settings.max_steps,
        "validate_every": str(run.settings.validate_every),
        "accumulate": run.settings.accumulate,
        "clip_norm": run.settings.clip_norm,
        "overfit_batches": run.settings.overfit_batches,
        "optimizer": run.settings.optimizer.fingerprint(),
        "module": require_json(
            run.module.fingerprint(), f"{type(run.module).__name__}.fingerprint()"
        ),
        "callbacks": run.callbacks.fingerprint(),
        "world_size": run.ranks.size,
    }
    data = require_json(dict(run.data.fingerprint()), f"{type(run.data).__name__}.fingerprint()")
    text = json.dumps({"config": config, "data": data})
    prints: dict[str, dict[str, Any]] = json.loads(text)  # as read from a file: tuples are lists
    return prints


def _measured(saved: SavedCheckpoint, names: Sequence[str]) -> dict[str, float]:
    """The metrics of a checkpoint that was validated, as far as the module still has them."""
    metrics = saved.state.metrics
    return {name: value for name in names if (value := metrics.get(name)) is not None}


def _restore_optimizer(
    run: Run, saved: SavedCheckpoint, old: Mapping[str, Any], new: Mapping[str, Any]
) -> None:
    """Load the accumulators, and the learning rate if the configured one is still the same.

    Args:
        old, new: the fingerprints of the optimizer, in the checkpoint and now.
    """
    optimizer, source = run.stepper.optimizer, str(saved.folder / OPTIMIZER_FILE)
    try:
        load_optimizer(optimizer, run.module, saved.arrays(OPTIMIZER_FILE), source)
    except CheckpointError as error:
        if old == new:
            raise
        log.warning("the optimizer starts without accumulators: %s", error)
    if old.get("learning_rate") == new["learning_rate"] and saved.state.learning_rate is not None:
        run.learning_rate = saved.state.learning_rate


def _refuse_changes(run: Run, saved: SavedCheckpoint, differences: list[str], accept: bool) -> None:
    """Refuse, or list in the log, what differs: ``differences`` of the fingerprints, the callbacks
    and the metrics."""
    changes = differences + run.callbacks.differences(saved.state.callbacks)
    old, new = sorted(saved.state.metrics), sorted(run.module.metric_names)
    if old != new:
        changes.append(f"the metrics were {old}, are {new}")
    if not changes:
        return
    listed = "; ".join(changes)
    if not accept:
        raise UsageError(
            f"{saved.folder} has another configuration or other data, and resuming would mix two "
            f"runs: {listed}. Undo the change, choose another save_dir, or resume anyway with "
            "--accept_changes"
        )
    log.warning("resuming from %s with changes: %s", saved.folder, listed)


def _differences(old: Any, new: Any, path: str = "") -> list[str]:
    if isinstance(old, dict) and isinstance(new, dict):
        keys = [*old, *(key for key in new if key not in old)]
        return [
            line
            for key in keys
            for line in _differences(
                old.get(key), new.get(key), f"{path}.{key}" if path else str(key)
            )
        ]
    return [] if old == new else [f"{path} was {old!r}, is {new!r}"]


def _digest(value: Mapping[str, Any]) -> str:
    return sha256(json.dumps(value, sort_keys=True).encode())
