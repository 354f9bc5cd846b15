"""Stores each commit as a generation, and keeps the record of the best one."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace

from vprtrain.callbacks.monitor import monitored
from vprtrain.checkpoint.snapshot import Snapshot
from vprtrain.checkpoint.state import BestRecord
from vprtrain.checkpoint.store import Store
from vprtrain.engine import Callback, Engine
from vprtrain.engine.persistence import take_snapshot_for_rehearsal
from vprtrain.errors import UsageError

log = logging.getLogger(__name__)

LAUNCHER_PATIENCE = 30.0
"""Seconds between Paddle's launcher's SIGTERM and its SIGKILL."""


class Checkpoint(Callback):
    """Writes ``last_model`` at every commit and ``best_model`` where the monitored metric is the
    lowest so far.

    When fit starts, a checkpoint is saved and removed again: a full disk or a missing permission
    shows before days of training, and the log says how long saving takes. Arrays that other
    callbacks add (an average of the weights) come on top of that; zeros stand for what an optimizer
    accumulates from its first step on.

    Args:
        monitor: the metric, lower is better; ``None`` for the module's first.
        keep: how many of the newest generations stay; those under ``last_model`` and ``best_model``
            always do.
    """

    place = 1

    def __init__(self, *, monitor: str | None = None, keep: int = 2) -> None:
        if keep < 1:
            raise UsageError(f"Checkpoint's keep is {keep}: expected at least 1")
        self._monitor = monitor
        self._metric: str | None = None
        self._keep = keep
        self._best: float | None = None
        self._best_step: int | None = None

    def on_fit_start(self, engine: Engine) -> None:
        names = engine.module.metric_names
        self._metric = monitored(self, self._monitor, names) if names else None
        self._best = self._best_step = None
        if engine.opened is not None and engine.store is not None:
            best = engine.opened.state.best
            # If another metric was monitored, a new record begins.
            if best is not None and best.metric == self._metric:
                self._best, self._best_step = best.value, best.step
            engine.store.rewind(engine.opened, best_step=self._best_step)
        if engine.store is not None:
            self._rehearse(engine, engine.store)

    def on_validation_end(self, engine: Engine, metrics: Mapping[str, float] | None) -> None:
        if metrics is None or self._metric is None:  # cut short, or not in a fit
            return
        value = metrics[self._metric]
        if self._best is None or value < self._best:
            self._best, self._best_step = value, engine.progress.step
        engine.request_commit("validation")

    def on_commit(self, engine: Engine, snapshot: Snapshot) -> None:
        if engine.store is None:
            return
        if self._metric is not None:
            best = BestRecord(self._metric, self._best, self._best_step)
            snapshot.state = replace(snapshot.state, best=best)
        started = engine.clock()
        saved = engine.store.commit(
            snapshot, best=self._best_step == engine.progress.step, keep=self._keep
        )
        seconds = engine.clock() - started
        log.info("saved %s in %.2f s", saved.folder.name, seconds)
        _warn_if_slow(seconds)

    def on_fit_end(self, engine: Engine) -> None:
        self._metric = None

    def fingerprint(self) -> dict[str, str | None]:
        return {"monitor": self._monitor}

    @staticmethod
    def _rehearse(engine: Engine, store: Store) -> None:
        """Find out before training whether a checkpoint can be saved, and how long it takes."""
        snapshot = take_snapshot_for_rehearsal(engine)
        started = engine.clock()
        size = store.rehearse(snapshot)
        seconds = engine.clock() - started
        log.info(
            "a checkpoint takes %.2f s to save (%.1f MB, without what other callbacks add)",
            seconds,
            size / 1e6,
        )
        _warn_if_slow(seconds)


def _warn_if_slow(seconds: float) -> None:
    if seconds > LAUNCHER_PATIENCE / 2:
        log.warning(
            "saving took %.0f s: Paddle's launcher kills a process %.0f s after asking it to stop, and a stop must "
            "finish a step and save within that",
            seconds,
            LAUNCHER_PATIENCE,
        )
