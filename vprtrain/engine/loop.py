"""The training loop: from ``Engine.fit`` (engine/engine.py) to the numeric work of a step
(engine/stepper.py). The hooks that it calls are documented in engine/callback.py.

A checkpoint is only ever taken at a commit, where every counter is final: no step and no validation
is in progress, and a completed epoch has become the start of the next one. A run that is cut
anywhere resumes from its newest commit.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any

from vprtrain.engine import killpoints
from vprtrain.engine.batches import closing
from vprtrain.engine.hooks import Hooks
from vprtrain.engine.persistence import take_snapshot
from vprtrain.engine.run import Run
from vprtrain.engine.schedule import Schedule
from vprtrain.engine.state import Progress
from vprtrain.engine.stop import Interrupted, Pending
from vprtrain.engine.validation import run_validation
from vprtrain.errors import RunError


class TrainingLoop:
    """Drives a run from its current position to the end of training, or to a stop."""

    def __init__(self, run: Run, hooks: Hooks) -> None:
        self._run = run
        self._hooks = hooks
        self._schedule = Schedule(run)
        self._batch_start = hooks.of("on_train_batch_start")
        self._batch_end = hooks.of("on_train_batch_end")
        before_update = hooks.of("on_before_optimizer_step")
        self._before_update = partial(_call, before_update, run) if before_update else None
        self._alone = run.ranks.size == 1
        # Several ranks go on until they have agreed to stop: one that left its step would keep the
        # others waiting.
        self._waiting_for_data: AbstractContextManager[object] = (
            run.requests.waiting_for_data if self._alone else nullcontext()
        )

    def run(self) -> str:
        """Train.

        Returns:
            What stopped the training.
        """
        run = self._run
        run.module.train()
        if run.progress.validation_pending:
            stopped_by = self._after_step()
        else:
            stopped_by = self._schedule.stop_reason(self._agree())
        while stopped_by is None:
            self._hooks.call("on_train_epoch_start", run)
            with closing(
                run.data.train_batches(run.progress.epoch, run.progress.batch_in_epoch)
            ) as batches:
                stopped_by = self._train_epoch(batches)
        return stopped_by

    def _train_epoch(self, batches: Iterator[Any]) -> str | None:
        """Take steps until the epoch is done (``None``) or a reason stops the run."""
        run, epoch = self._run, self._run.progress.epoch
        stopped_by = None
        while stopped_by is None and run.progress.epoch == epoch:
            run.stopwatch.start()
            try:
                group = self._fetch(batches)
            except Interrupted:
                return self._commit_and_stop(self._agree())
            killpoints.reach("fetch")
            run.stopwatch.fetched()
            self._step(group)
            stopped_by = self._after_step()
        return stopped_by

    def _fetch(self, batches: Iterator[Any]) -> list[Any]:
        """The micro-batches of the next step; fewer than ``accumulate`` at the end of an epoch."""
        run = self._run
        with self._waiting_for_data:
            group = list(itertools.islice(batches, run.settings.accumulate))
        if not group:
            raise RunError(
                f"the training data ended after {run.progress.batch_in_epoch} batches of epoch "
                f"{run.progress.epoch + 1}: expected {run.batches_per_epoch}"
            )
        return group

    def _step(self, group: list[Any]) -> None:
        """Forward, backward and update are in ``Stepper.run`` (engine/stepper.py)."""
        run, progress = self._run, self._run.progress
        _call(self._batch_start, run)
        step = progress.step + 1
        run.at_log_point = step % run.settings.log_every == 0 or step == 1
        if run.module.at_log_point != run.at_log_point:  # setting a Layer's attribute is slow
            run.module.at_log_point = run.at_log_point
        loss, run.device_scalars = run.stepper.run(progress.step, group, self._before_update)
        run.move_to(Progress(progress.epoch, progress.batch_in_epoch + len(group), step))
        killpoints.reach("advance")
        run.loss_meter.add(loss)
        run.stopwatch.stepped()
        _call(self._batch_end, run)
        if run.at_log_point:
            run.examples_per_step = sum(map(run.data.whole_size, group))
            run.fetch_scalars()
            self._hooks.call("on_log", run)
            run.loss_meter.reset()

    def _after_step(self) -> str | None:
        """What may follow a step, in this order: a validation, the end of the epoch, a commit, a
        stop (with its reason)."""
        run = self._run
        if not self._schedule.anything_due:
            return None
        pending = self._agree()
        epoch_done = run.progress.batch_in_epoch >= run.batches_per_epoch
        if self._schedule.validation_due(pending, epoch_done=epoch_done):
            pending = self._validate()
        if epoch_done and not run.progress.validation_pending:
            self._hooks.call("on_train_epoch_end", run)
            run.move_to(Progress(epoch=run.progress.epoch + 1, step=run.progress.step))
            pending = self._agree()
        stopped_by = self._commit_and_stop(pending)
        self._schedule.look_ahead()
        return stopped_by

    def _agree(self) -> Pending:
        """The requests of all ranks, by the clock too. On the way, rank 0 gets the other ranks'
        findings about the data."""
        run = self._run
        self._schedule.request_timed()
        if self._alone:
            return run.requests.pending()
        answers = run.ranks.exchange([run.requests.pending(), run.data.pop_findings()])
        if run.ranks.is_first:
            for _, findings in answers[1:]:
                run.data.add_findings(findings)
        return Pending.merge([Pending(*pending) for pending, _ in answers])

    def _validate(self) -> Pending:
        """Validate here. If a stop cuts the validation short, it stays pending in the position.

        Returns:
            The requests afterwards.
        """
        run, started = self._run, self._run.settings.clock()
        run.requests.validation = False
        metrics = run_validation(run, self._hooks)
        run.stopwatch.validated(run.settings.clock() - started)
        pending = self._agree()
        cut_by_stop = metrics is None and pending.stop is not None
        run.move_to(run.progress._replace(validation_pending=cut_by_stop))
        return pending

    def _commit_and_stop(self, pending: Pending) -> str | None:
        """Commit if it is due; return the reason to stop, if there is one."""
        if self._schedule.commit_due(pending):
            self._commit()
        return self._schedule.stop_reason(pending)

    def _commit(self) -> None:
        """Take a snapshot for rank 0's callbacks. The other ranks wait as long as saving takes."""
        run = self._run
        if not run.at_log_point:
            run.fetch_scalars()
        run.requests.commit_tags.clear()
        if run.store is not None:
            self._hooks.call("on_commit", run, take_snapshot(run))
        run.ranks.exchange(None)
        self._schedule.committed()


def _call(methods: tuple[Callable[..., None], ...], run: Run) -> None:
    for method in methods:
        method(run)
