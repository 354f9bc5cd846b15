"""Saves each commit as a generation, and tracks the best one."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from functools import partial

from vprtrain.callbacks.monitor import Mode, Monitor
from vprtrain.checkpoint.snapshot import Snapshot
from vprtrain.checkpoint.state import BestRecord
from vprtrain.checkpoint.store import Store
from vprtrain.engine import Callback, Run, ValidationRun
from vprtrain.engine.persistence import take_snapshot_for_rehearsal
from vprtrain.errors import require_whole

log = logging.getLogger(__name__)

REHEARSED_BYTES = 64 * 2**20
"""How many bytes of arrays a rehearsal writes at most."""
LAUNCHER_PATIENCE = 30.0
"""Seconds between the SIGTERM and the SIGKILL that Paddle's launcher sends."""


class Checkpoint(Callback):
    """Updates ``last_model`` at every commit, and ``best_model`` if the monitored metric is the
    best so far.

    When ``fit`` starts, a checkpoint is saved and removed again as a rehearsal. A full disk or a
    missing permission is found before days of training, and the log says how long saving takes. Of
    a large model a part is saved, and room is reserved for the rest. The rehearsal has zeros for
    what the optimizer will accumulate, and lacks the arrays that other callbacks add (an average of
    the weights).

    Args:
        monitor: the metric; ``None`` for the module's first one.
        mode: whether a lower (``min``) or a higher (``max``) value is better.
        keep: how many of the newest generations to keep. The generations of ``last_model`` and
            ``best_model`` are always kept.
        keep_best: how many of the best generations to keep.
        asynchronous: save beside training. A commit then waits for the copy in memory only, and for
            the save before it; the end of ``fit`` waits for the last save. A process that is killed
            in a save resumes from the commit before it, to the same bits. A save that failed ends
            the run at the next log point or commit. While a save goes on, the copy takes the memory
            of one more checkpoint.

    Raises:
        UsageError: ``keep`` or ``keep_best`` is below 1, or (when ``fit`` starts) the module has no
            such metric.
    """

    role = "the checkpoints"
    place = 1

    def __init__(
        self,
        *,
        monitor: str | None = None,
        mode: Mode = "min",
        keep: int = 2,
        keep_best: int = 1,
        asynchronous: bool = False,
    ) -> None:
        require_whole("Checkpoint's keep", keep, 1)
        require_whole("Checkpoint's keep_best", keep_best, 1)
        self._monitor = Monitor("Checkpoint", monitor, mode)
        self._metric: str | None = None
        self._keep = keep
        self._keep_best = keep_best
        self._asynchronous = asynchronous
        self._saving: Future[None] | None = None
        self._values: dict[int, float] = {}
        """Of the generations on disk that were validated, by step."""
        self._best: float | None = None
        self._best_step: int | None = None

    def on_fit_start(self, run: Run) -> None:
        names = run.module.metric_names
        self._metric = self._monitor.metric(names) if names else None
        self._best = self._best_step = None
        self._values = {}
        if run.opened is not None and run.store is not None:
            best = run.opened.state.best
            # If another metric was monitored, a new record begins.
            if best is not None and best.metric == self._metric:
                self._best, self._best_step = best.value, best.step
            run.store.rewind(run.opened, best_step=self._best_step)
            self._values = run.store.validated(self._metric) if self._metric else {}
        if run.store is not None:
            self._rehearse(run, run.store)

    def on_validation_end(self, run: ValidationRun, metrics: Mapping[str, float] | None) -> None:
        if metrics is None or self._metric is None:  # cut short, or outside a fit
            return
        value = metrics[self._metric]
        self._values[run.progress.step] = value
        if self._monitor.is_better(value, self._best):
            self._best, self._best_step = value, run.progress.step
        run.request_commit("validation")

    def on_commit(self, run: Run, snapshot: Snapshot) -> None:
        if run.store is None:
            return
        if self._metric is not None:
            best = BestRecord(self._metric, self._best, self._best_step)
            snapshot.state = replace(snapshot.state, best=best)
        save = partial(
            self._save,
            run.store,
            snapshot,
            best=self._best_step == run.progress.step,
            keep_steps=self._best_steps(),
            clock=run.settings.clock,
        )
        if self._asynchronous:
            self._finish_saving()
            with_one_thread = ThreadPoolExecutor(1, thread_name_prefix="checkpoint")
            self._saving = with_one_thread.submit(save)
            with_one_thread.shutdown(wait=False)
        else:
            save()

    def on_log(self, run: Run) -> None:
        if self._saving is not None and self._saving.done():
            self._finish_saving()

    def on_fit_end(self, run: Run) -> None:
        self._metric = None
        self._finish_saving()

    def fingerprint(self) -> dict[str, str | None]:
        return self._monitor.fingerprint()

    def _save(
        self,
        store: Store,
        snapshot: Snapshot,
        *,
        best: bool,
        keep_steps: Collection[int],
        clock: Callable[[], float],
    ) -> None:
        started = clock()
        saved = store.commit(snapshot, best=best, keep=self._keep, keep_steps=keep_steps)
        seconds = clock() - started
        log.info("saved %s in %.2f s", saved.folder.name, seconds)
        _warn_if_slow(seconds)

    def _finish_saving(self) -> None:
        """Wait for the save that goes on beside training.

        Raises:
            RunError: it failed.
        """
        if self._saving is None:
            return
        try:
            self._saving.result()
        finally:
            if self._saving.done():  # after a Ctrl-C it goes on, and the end of fit waits for it
                self._saving = None

    def _best_steps(self) -> list[int]:
        """The steps of the best generations; of equal ones the earlier."""
        cost = self._monitor.cost
        steps = sorted(self._values, key=lambda step: (cost(self._values[step]), step))
        return steps[: self._keep_best]

    @staticmethod
    def _rehearse(run: Run, store: Store) -> None:
        """Check before training that a checkpoint can be saved, and measure how long it takes.

        Raises:
            RunError: it cannot be saved.
        """
        snapshot = take_snapshot_for_rehearsal(run)
        sample = snapshot.sample(REHEARSED_BYTES)
        left_out = snapshot.array_bytes - sample.array_bytes
        started = run.settings.clock()
        size = store.rehearse(sample, reserve=left_out)
        seconds = (run.settings.clock() - started) * (size + left_out) / size
        log.info(
            "saving a checkpoint takes %.2f s (%.1f MB, without the arrays of other callbacks)",
            seconds,
            (size + left_out) / 1e6,
        )
        _warn_if_slow(seconds)


def _warn_if_slow(seconds: float) -> None:
    if seconds > LAUNCHER_PATIENCE / 2:
        log.warning(
            "saving took %.0f s: Paddle's launcher kills a process %.0f s after asking it to stop, "
            "and a step and a save must fit into that time",
            seconds,
            LAUNCHER_PATIENCE,
        )
