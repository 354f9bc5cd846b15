"""The training loop. It reads top to bottom; what callbacks may do in between stands in
``engine/callback.py``.

A checkpoint is only ever taken at a commit, where every counter is final: neither a step nor a
validation is under way, and an epoch that is done has become the start of the next. Whatever cuts
the run, it goes on from there.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import paddle

from vprtrain.engine.killpoints import passing
from vprtrain.engine.state import Progress
from vprtrain.engine.stop import Asked, Interrupted
from vprtrain.errors import RunError, UsageError

if TYPE_CHECKING:
    from vprtrain.engine.engine import Engine


class TrainingLoop:
    """Drives an engine from its present position to the end of training, or to a stop."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        hooks = engine.hooks
        self._batch_start = hooks.of("on_train_batch_start")
        self._batch_end = hooks.of("on_train_batch_end")
        before_update = hooks.of("on_before_optimizer_step")
        self._before_update = partial(_call, before_update, engine) if before_update else None
        self._alone = engine.ranks.size == 1
        # Several ranks go on until they have agreed to stop: one that left its step would keep the
        # others waiting.
        self._waiting_for_data: AbstractContextManager[object] = (
            engine.requests.waiting_for_data if self._alone else nullcontext()
        )
        self._committed = engine.progress
        self._next_step = 0
        self._next_time = -math.inf

    def run(self) -> str:
        """Train; returns what stopped it."""
        engine = self.engine
        engine.module.train()
        stopped_by = (
            self._settle() if engine.progress.validation_pending else self._stopped_by(self._ask())
        )
        while stopped_by is None:
            engine.hooks.call("on_train_epoch_start", engine)
            with _closing(
                engine.data.train_batches(engine.progress.epoch, engine.progress.batch_in_epoch)
            ) as batches:
                stopped_by = self._train(batches)
        return stopped_by

    def _train(self, batches: Iterator[Any]) -> str | None:
        """Take steps until the epoch is done (``None``) or the run is to stop (by what)."""
        engine, epoch = self.engine, self.engine.progress.epoch
        stopped_by = None
        while stopped_by is None and engine.progress.epoch == epoch:
            engine.stopwatch.start()
            try:
                group = self._fetch(batches)
            except Interrupted:
                return self._commit_if_due(self._ask())
            passing("fetch")
            engine.stopwatch.fetched()
            self._step(group)
            stopped_by = self._settle()
        return stopped_by

    def _fetch(self, batches: Iterator[Any]) -> list[Any]:
        """The micro-batches of the next step; fewer than ``accumulate`` at the end of an epoch."""
        engine = self.engine
        with self._waiting_for_data:
            group = list(itertools.islice(batches, engine.accumulate))
        if not group:
            raise RunError(
                f"the training data ended after {engine.progress.batch_in_epoch} batches of epoch "
                f"{engine.progress.epoch + 1}, which should have {engine.batches_per_epoch}"
            )
        return group

    def _step(self, group: list[Any]) -> None:
        engine, progress = self.engine, self.engine.progress
        _call(self._batch_start, engine)
        step = progress.step + 1
        engine.at_log_point = step % engine.log_every == 0 or step == 1
        # a Layer's attributes are slow to set
        if engine.module.at_log_point != engine.at_log_point:
            engine.module.at_log_point = engine.at_log_point
        loss, engine.device_scalars = engine.stepper.run(progress.step, group, self._before_update)
        engine.progress = Progress(progress.epoch, progress.batch_in_epoch + len(group), step)
        passing("advance")
        engine.loss_meter.add(loss)
        engine.stopwatch.stepped()
        _call(self._batch_end, engine)
        if engine.at_log_point:
            engine.examples_per_step = sum(map(engine.data.whole_size, group))
            engine.fetch_scalars()
            engine.hooks.call("on_log", engine)
            engine.loss_meter.reset()

    def _settle(self) -> str | None:
        """What may follow a step, in this order: validation, the epoch's end, a commit, a stop (by
        what)."""
        engine = self.engine
        if not self._something_is_due():
            return None
        asked = self._ask()
        epoch_done = engine.progress.batch_in_epoch >= engine.batches_per_epoch
        if self._validation_due(epoch_done, asked):
            asked = self._validate()
        if epoch_done and not engine.progress.validation_pending:
            engine.hooks.call("on_train_epoch_end", engine)
            engine.progress = Progress(epoch=engine.progress.epoch + 1, step=engine.progress.step)
            asked = self._ask()
        stopped_by = self._commit_if_due(asked)
        self._look_ahead()
        return stopped_by

    def _something_is_due(self) -> bool:
        engine = self.engine
        if engine.progress.step >= self._next_step:
            return True
        return self._alone and (engine.clock() >= self._next_time or engine.requests.pending)

    def _ask(self) -> Asked:
        """What is requested by anyone, the clock included. Several ranks agree on it, and hand on
        what they found."""
        engine, requests = self.engine, self.engine.requests
        now = engine.clock()
        if now >= engine.stop_at:
            requests.stop("max_time")
        if 0 < engine.commit_every.minutes <= (now - engine.committed_at) / 60:
            engine.request_commit("commit_every")
        if self._alone:
            return requests.asked()
        said = engine.ranks.exchange([requests.asked(), engine.data.take_findings()])
        if engine.ranks.is_first:
            for _, findings in said[1:]:
                engine.data.add_findings(findings)
        return Asked.by_any([Asked(*asked) for asked, _ in said])

    def _look_ahead(self) -> None:
        """Find the next step and the next time at which anything but a request can be due: most
        steps are neither."""
        engine, step = self.engine, self.engine.progress.step
        batches_left = engine.batches_per_epoch - engine.progress.batch_in_epoch
        ends = [engine.total_steps, step + math.ceil(batches_left / engine.accumulate)]
        ends += [
            (step // n + 1) * n
            for n in (engine.validate_every.steps, engine.commit_every.steps)
            if n
        ]
        if not self._alone:
            ends.append((step // engine.agree_every + 1) * engine.agree_every)
        self._next_step = min(ends)
        commit_at = engine.committed_at + 60 * (engine.commit_every.minutes or math.inf)
        self._next_time = min(engine.stop_at, commit_at)

    def _validation_due(self, epoch_done: bool, asked: Asked) -> bool:
        engine, progress = self.engine, self.engine.progress
        if not engine.validates or engine.metrics_step == progress.step:
            return False
        every = engine.validate_every
        return (
            progress.validation_pending
            or asked.validation
            or every.after_step(progress.step)
            or (epoch_done and every.after_epoch(progress.epoch + 1))
            or (progress.step == engine.total_steps and not every.never)
        )

    def _validate(self) -> Asked:
        """Validate here, or mark the validation as pending where a stop cuts it short; what is
        requested by then."""
        engine = self.engine
        engine.requests.validation = False
        metrics = run_validation(engine)
        asked = self._ask()
        cut_by_stop = metrics is None and asked.stop is not None
        engine.progress = engine.progress._replace(validation_pending=cut_by_stop)
        return asked

    def _commit_if_due(self, asked: Asked) -> str | None:
        """Returns what stops the run, as a stop is a reason to commit."""
        engine, stopped_by = self.engine, self._stopped_by(asked)
        due = stopped_by is not None or asked.commit or self._commit_scheduled()
        if (
            due
            and engine.commits
            and engine.progress != self._committed
            and engine.progress.step > 0
        ):
            engine.commit()
            self._committed = engine.progress
        return stopped_by

    def _commit_scheduled(self) -> bool:
        progress, every = self.engine.progress, self.engine.commit_every
        return every.after_step(progress.step) or (
            progress.batch_in_epoch == 0 and every.after_epoch(progress.epoch)
        )

    def _stopped_by(self, asked: Asked) -> str | None:
        engine = self.engine
        if engine.progress.step >= engine.total_steps and not engine.progress.validation_pending:
            return "max_steps" if engine.total_steps == engine.max_steps else "max_epochs"
        return asked.stop


def run_validation(engine: Engine) -> dict[str, float] | None:
    """Validate the engine's module in evaluation mode and leave it as it was.

    Returns:
        The metrics; ``None`` where a stop, or the end of this validation, was requested, and in a
        ``fast_dev_run``, whose few batches give none.
    """
    module, requests, ranks, started = engine.module, engine.requests, engine.ranks, engine.clock()
    batch_end = engine.hooks.of("on_validation_batch_end")
    requests.end_validation = False
    training = module.training
    engine.hooks.call("on_validation_start", engine)
    module.eval()
    module.on_validation_start()
    complete = False
    try:
        with paddle.no_grad(), _closing(engine.validation_data.validation_batches()) as batches:
            while (batch := _next_validation_batch(engine, batches)) is not None:
                module.validation_step(batch)
                _call(batch_end, engine)
                passing("validation")
        complete = True
    except Interrupted:
        ranks.call_attention()
    complete = all(ranks.exchange(complete, hurry=lambda: requests.ending_validation))
    metrics = (
        ranks.exchange(_checked_metrics(engine))[0]
        if complete and not engine.fast_dev_run
        else None
    )
    if metrics is not None:
        engine.metrics, engine.metrics_step = metrics, engine.progress.step
    if training:
        module.train()
    engine.stopwatch.validated(engine.clock() - started)
    engine.hooks.call("on_validation_end", engine, metrics)
    return metrics


def _next_validation_batch(engine: Engine, batches: Iterator[Any]) -> Any | None:
    if engine.requests.end_validation or engine.ranks.attention:
        raise Interrupted
    with engine.requests.waiting_for_data:
        return next(batches, None)


def _checked_metrics(engine: Engine) -> dict[str, float]:
    metrics = engine.module.on_validation_end()
    if tuple(metrics) != engine.module.metric_names:
        raise UsageError(
            f"{type(engine.module).__name__}.on_validation_end returned {list(metrics)}: "
            f"expected {list(engine.module.metric_names)}, as its metric_names say"
        )
    return metrics


def _call(methods: Iterable[Callable[..., None]], engine: Engine) -> None:
    for method in methods:
        method(engine)


@runtime_checkable
class _Closable(Protocol):
    def close(self) -> None: ...


@contextmanager
def _closing(batches: Iterator[Any] | None) -> Iterator[Iterator[Any]]:
    iterator = iter(batches if batches is not None else ())
    try:
        yield iterator
    finally:
        if isinstance(iterator, _Closable):
            iterator.close()
