"""From a run to a checkpoint and back: what is saved, what a resume refuses, what a new run may
start from."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import paddle

from vprtrain.checkpoint.arrays import Arrays
from vprtrain.checkpoint.snapshot import (
    AVERAGED_MODEL_FILE,
    CONFIG_FILE,
    MODEL_FILE,
    OPTIMIZER_FILE,
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
from vprtrain.checkpoint.store import LAST, Store, resolve_checkpoint
from vprtrain.errors import CheckpointError, UsageError
from vprtrain.files import sha256
from vprtrain.ranks.ranks import Ranks
from vprtrain.spec import canonical

if TYPE_CHECKING:
    from vprtrain.engine.engine import Engine

log = logging.getLogger(__name__)


def take_snapshot(engine: Engine) -> Snapshot:
    """Everything a run needs to go on from here, copied."""
    progress, names = engine.progress, engine.module.metric_names
    at_epoch = progress.batch_in_epoch == 0 and progress.epoch > 0
    prints = fingerprints(engine)
    state = CheckpointState(
        own={**engine.module.state_keys(), **engine.data.state_keys()},
        last_epoch=progress.epoch,
        step=progress.step,
        batch_in_epoch=progress.batch_in_epoch,
        validation_pending=progress.validation_pending,
        metrics={name: engine.metrics.get(name) for name in names},
        metrics_step=engine.metrics_step,
        learning_rate=engine.learning_rate,
        seed=engine.seed,
        world_size=engine.ranks.size,
        running_loss=RunningLoss(**engine.loss_meter.state_dict()),
        callbacks=engine.hooks.state(),
        config_sha256=_digest(prints["config"]),
        data_sha256=_digest(prints["data"]),
        fingerprint=prints,
    )
    return Snapshot(
        name=f"epoch_{progress.epoch}" if at_epoch else f"step_{progress.step}",
        state=state,
        arrays={
            MODEL_FILE: layer_arrays(engine.module),
            OPTIMIZER_FILE: optimizer_arrays(engine.stepper.optimizer, engine.module),
        },
        texts={CONFIG_FILE: engine.config or json.dumps(prints, indent=2)},  # JSON is YAML
    )


def take_snapshot_for_rehearsal(engine: Engine) -> Snapshot:
    """A snapshot as large as those to come: blanks stand for what the optimizer has not accumulated
    yet."""
    snapshot = take_snapshot(engine)
    if engine.progress.step == 0:
        unused = engine.optimizer_factory.build(engine.module.trained_parameters())
        snapshot.arrays[OPTIMIZER_FILE] = blank_optimizer_arrays(unused, engine.module)
    return snapshot


def choose_checkpoint(
    store: Store | None, resume: str | Path, ranks: Ranks
) -> SavedCheckpoint | None:
    """The checkpoint that a run goes on from, as ``fit``'s ``resume`` says; ``None`` where it
    begins.

    Of several ranks, the first, which has the store, chooses for all.

    Raises:
        UsageError: what is asked for is no checkpoint of this run, or the directory holds another
            run's.
    """
    chosen = None if store is None else _chosen(store, resume)
    folder = ranks.exchange(None if chosen is None else str(chosen.folder.resolve()))[0]
    return chosen if ranks.is_first or folder is None else open_checkpoint(Path(folder))


def _chosen(store: Store, resume: str | Path) -> SavedCheckpoint | None:
    if resume == "never":
        store.refuse_new_run()
        return None
    if resume == "auto":
        return store.newest()
    saved = resolve_checkpoint(Path(resume), prefer=LAST)
    if saved.folder not in [generation.resolve() for generation in store.generations()]:
        raise UsageError(
            f"{saved.folder} is not a generation of the run in {store.folder}: resume where it is one, "
            "or start from its weights with --init_from"
        )
    return saved


def restore(engine: Engine, saved: SavedCheckpoint, *, accept_changes: bool) -> None:
    """Put back everything but the position, which is the ResumeStep callback's to apply.

    Raises:
        UsageError: the checkpoint is of another configuration, other data, or other callbacks with
            a state.
    """
    state, module = saved.state, engine.module
    if state.fingerprint is None or state.running_loss is None or state.learning_rate is None:
        raise UsageError(
            f"{saved.folder} was not saved by a run and cannot be resumed: start a new run from its "
            "weights with --init_from"
        )
    _refuse_changes(saved, fingerprints(engine), accept_changes)
    load_layer(module, saved.arrays(MODEL_FILE), str(saved.folder / MODEL_FILE))
    load_optimizer(
        engine.stepper.optimizer,
        module,
        saved.arrays(OPTIMIZER_FILE),
        str(saved.folder / OPTIMIZER_FILE),
    )
    _restore_callbacks(engine, saved, accept_changes)
    engine.learning_rate = state.learning_rate
    engine.loss_meter.load_state_dict(asdict(state.running_loss))
    if state.metrics_step is not None:
        engine.metrics = _measured(saved, module.metric_names)
        engine.metrics_step = state.metrics_step


def initialise(module: paddle.nn.Layer, saved: SavedCheckpoint) -> None:
    """Start a module from another run's weights; what does not fit stays as it is, and is listed in
    the log.

    Raises:
        UsageError: nothing fits.
    """
    arrays = weights(saved)
    unfit = unfit_names(module, arrays)
    fitting = {
        name: tensor for name, tensor in module.state_dict().items() if name not in set(unfit)
    }
    if not fitting:
        raise UsageError(
            f"nothing of {saved.folder} fits this module: expected a checkpoint of the same model"
        )
    for name, tensor in fitting.items():
        tensor.set_value(arrays[name])
    log.info("starting from %d of the %d arrays of %s", len(fitting), len(arrays), saved.folder)
    for name in unfit:
        log.info("made anew (not in that checkpoint, or of another shape): %s", name)


def weights(saved: SavedCheckpoint) -> Arrays:
    """The weights to use a checkpoint's model with: the averaged ones where it has them."""
    return saved.arrays(AVERAGED_MODEL_FILE if saved.has(AVERAGED_MODEL_FILE) else MODEL_FILE)


def load_weights(module: paddle.nn.Layer, saved: SavedCheckpoint) -> None:
    """Put a checkpoint's weights, averaged ones preferred, into a module of the same shape."""
    load_layer(module, weights(saved), str(saved.folder))


def fingerprints(engine: Engine) -> dict[str, dict[str, Any]]:
    """What a resume must find unchanged: all that can change the weights or the best record."""
    config = {
        "seed": engine.seed,
        "max_epochs": engine.max_epochs,
        "max_steps": engine.max_steps,
        "validate_every": str(engine.validate_every),
        "accumulate": engine.accumulate,
        "clip_norm": engine.clip_norm,
        "overfit_batches": engine.overfit_batches,
        "optimizer": engine.optimizer_factory.fingerprint(),
        "module": engine.module.fingerprint(),
        "callbacks": engine.hooks.fingerprint(),
        "world_size": engine.ranks.size,
    }
    # As they will be read back from JSON: tuples become lists.
    return json.loads(json.dumps({"config": config, "data": dict(engine.data.fingerprint())}))


def _measured(saved: SavedCheckpoint, names: Sequence[str]) -> dict[str, float]:
    """The metrics of a checkpoint that was validated.

    Raises:
        CheckpointError: they are not the module's.
    """
    found = {name: value for name, value in saved.state.metrics.items() if value is not None}
    if found.keys() != set(names):
        raise CheckpointError(
            f"{saved.folder} holds the metrics {sorted(found)}, expected {sorted(names)}"
        )
    return found


def _restore_callbacks(engine: Engine, saved: SavedCheckpoint, accept_changes: bool) -> None:
    states = saved.state.callbacks
    expected = engine.hooks.state().keys()
    if states.keys() != expected and not accept_changes:
        raise UsageError(
            f"{saved.folder} holds the state of the callbacks {sorted(states)}, this run has {sorted(expected)}: "
            "use the same ones, or --accept_changes"
        )
    for name, callback in zip(engine.hooks.names(), engine.hooks.callbacks, strict=True):
        if name in states:
            callback.load_state_dict(states[name])


def _refuse_changes(saved: SavedCheckpoint, prints: dict[str, Any], accept: bool) -> None:
    changes = _differences(canonical(saved.state.fingerprint), prints)
    if not changes:
        return
    listed = "; ".join(changes)
    if not accept:
        raise UsageError(
            f"{saved.folder} is of another configuration or other data, and going on would mix two runs: {listed}. "
            "Undo the change, choose another save_dir, or go on as a new run with --accept_changes"
        )
    log.warning("going on from %s with changes: %s", saved.folder, listed)


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
