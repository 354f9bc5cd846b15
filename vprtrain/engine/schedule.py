"""What the settings and the clock make due at a position of a run."""

from __future__ import annotations

import math

from vprtrain.engine.run import Run
from vprtrain.engine.stop import Pending


class Schedule:
    """Tells the loop when to validate, to commit and to stop.

    Nothing is due after most steps. :meth:`look_ahead` computes the next step and the next time at
    which something can be, so that :attr:`anything_due` is cheap enough to ask after every step.
    """

    def __init__(self, run: Run) -> None:
        self._run = run
        self._alone = run.ranks.size == 1
        max_time = run.settings.max_time
        self._stop_at = run.started_at + 3600 * max_time if max_time else math.inf
        self._committed_at = run.started_at
        self._committed = run.progress
        self._next_step = 0
        self._next_time = -math.inf

    @property
    def anything_due(self) -> bool:
        """Whether anything may be due here, requests included."""
        run = self._run
        if run.progress.step >= self._next_step:
            return True
        # Several ranks look at clocks and requests only at the steps at which all of them agree.
        return self._alone and (run.settings.clock() >= self._next_time or run.requests.any_pending)

    def look_ahead(self) -> None:
        """Find the next step and the next time at which anything but a request can be due."""
        run, settings, step = self._run, self._run.settings, self._run.progress.step
        batches_left = run.batches_per_epoch - run.progress.batch_in_epoch
        ends = [run.total_steps, step + math.ceil(batches_left / settings.accumulate)]
        intervals = [settings.validate_every.steps, settings.commit_every.steps]
        if not self._alone:
            intervals.append(settings.agree_every)
        ends += [(step // interval + 1) * interval for interval in intervals if interval]
        self._next_step = min(ends)
        commit_at = self._committed_at + 60 * (settings.commit_every.minutes or math.inf)
        self._next_time = min(self._stop_at, commit_at)

    def request_timed(self) -> None:
        """Make the requests that are due by the clock: ``max_time``, and commits by the minute."""
        run, now = self._run, self._run.settings.clock()
        if now >= self._stop_at:
            run.request_stop("max_time")
        if 0 < run.settings.commit_every.minutes <= (now - self._committed_at) / 60:
            run.request_commit("commit_every")

    def validation_due(self, pending: Pending, *, epoch_done: bool) -> bool:
        """Whether to validate here; never twice at the same step."""
        run, progress = self._run, self._run.progress
        if not run.validates or run.metrics_step == progress.step:
            return False
        every = run.settings.validate_every
        return (
            progress.validation_pending
            or pending.validation
            or every.after_step(progress.step)
            or (epoch_done and every.after_epoch(progress.epoch + 1))
            or (progress.step == run.total_steps and not every.never)
        )

    def commit_due(self, pending: Pending) -> bool:
        """Whether to commit here: on request, by interval or before a stop; never twice at the same
        position."""
        progress, every = self._run.progress, self._run.settings.commit_every
        if self._run.settings.run_dir is None or progress == self._committed or progress.step == 0:
            return False
        return (
            pending.commit
            or self.stop_reason(pending) is not None
            or every.after_step(progress.step)
            or (progress.batch_in_epoch == 0 and every.after_epoch(progress.epoch))
        )

    def committed(self) -> None:
        """Note that a commit was taken here and now."""
        self._committed_at, self._committed = self._run.settings.clock(), self._run.progress

    def stop_reason(self, pending: Pending) -> str | None:
        """Why to stop here, if there is a reason."""
        run = self._run
        if run.progress.step >= run.total_steps and not run.progress.validation_pending:
            return "max_steps" if run.total_steps == run.settings.max_steps else "max_epochs"
        return pending.stop
