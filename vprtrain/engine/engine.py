"""The Engine: fits and validates any Module on any DataModule, and knows nothing about audio or
speakers."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from vprtrain.checkpoint.state_file import SavedCheckpoint
from vprtrain.checkpoint.store import BEST, Store, resolve_checkpoint
from vprtrain.engine import killpoints, seeding
from vprtrain.engine.callback import Callback, Hooks
from vprtrain.engine.combining import Combining, prepare_for
from vprtrain.engine.interval import Interval
from vprtrain.engine.loop import TrainingLoop, run_validation
from vprtrain.engine.meter import LossMeter, Stopwatch
from vprtrain.engine.module import DataModule, FirstBatches, Module, Scalars, ValidationData
from vprtrain.engine.optimizers import Adam, OptimizerFactory
from vprtrain.engine.persistence import (
    choose_checkpoint,
    initialise,
    load_weights,
    restore,
    take_snapshot,
)
from vprtrain.engine.state import FitResult, LiveState, Progress
from vprtrain.engine.stepper import Stepper
from vprtrain.engine.stop import Requests
from vprtrain.errors import UsageError
from vprtrain.ranks.launched_ranks import connect_ranks
from vprtrain.ranks.rank_process import announce_run_dir
from vprtrain.ranks.ranks import Ranks


class Engine:
    """Runs the loop of training and validation; everything else is a callback.

    Args:
        run_dir: where checkpoints and logs go; ``None`` writes nothing.
        optimizer: a factory; its learning rate holds where no schedule sets another.
        callbacks: called in this order, Checkpoint last.
        max_epochs, max_steps: train until the first of them is reached; at least one is needed.
        max_time: hours after which this call commits and stops; the next one goes on.
        validate_every: ``"1 epoch"``, ``"500 steps"`` or ``"never"``; also after the last step.
        commit_every: ``"1 epoch"``, ``"500 steps"``, ``"10 minutes"`` or ``"never"``; also after
            the last step.
        accumulate: how many batches of the data make one optimizer step (the mean of their
            gradients).
        clip_norm: the largest global norm of the gradient; ``None`` for no clipping.
        log_every: every how many steps numbers are fetched from the device and shown.
        fast_dev_run: try everything out on this many training and validation batches, writing
            nothing.
        overfit_batches: train on the first so many batches over and over.
        agree_every: of several ranks, every how many steps they agree on what any of them was asked
            to do; a stop takes that many steps at most.
        seed: of the device's randomness in each step; the order of the data has its own.
        config: text kept as ``config.yaml`` in each checkpoint.
        clock: seconds that never go back; tests inject their own.
        ranks: the processes of this run; ``None`` for those that were launched.
    """

    def __init__(
        self,
        *,
        run_dir: Path | str | None = None,
        optimizer: OptimizerFactory | None = None,
        callbacks: Sequence[Callback] = (),
        max_epochs: int | None = None,
        max_steps: int | None = None,
        max_time: float | None = None,
        validate_every: str = "1 epoch",
        commit_every: str = "1 epoch",
        accumulate: int = 1,
        clip_norm: float | None = None,
        log_every: int = 100,
        fast_dev_run: int = 0,
        overfit_batches: int = 0,
        agree_every: int = 10,
        seed: int = 0,
        config: str = "",
        clock: Callable[[], float] = time.monotonic,
        ranks: Ranks | None = None,
    ) -> None:
        _require_positive(
            accumulate=accumulate,
            log_every=log_every,
            max_epochs=max_epochs,
            max_steps=max_steps,
            agree_every=agree_every,
        )
        self.ranks = ranks or connect_ranks()
        self._written_to = None if run_dir is None or fast_dev_run else Path(run_dir)
        self.commits = self._written_to is not None
        """Whether this run writes checkpoints."""
        self.store = (
            Store(self._written_to)
            if self._written_to is not None and self.ranks.is_first
            else None
        )
        self.optimizer_factory = optimizer or Adam()
        self.hooks = Hooks(callbacks)
        self.max_epochs = max_epochs
        self.max_steps = fast_dev_run or max_steps
        self.max_time = max_time
        self.validate_every = Interval.parse(
            validate_every, option="validate_every", units=("epochs", "steps")
        )
        self.commit_every = Interval.parse(commit_every, option="commit_every")
        self.accumulate = accumulate
        self.clip_norm = clip_norm
        self.log_every = log_every
        self.fast_dev_run = fast_dev_run
        self.overfit_batches = overfit_batches
        self.agree_every = agree_every
        self.seed = seed
        self.config = config
        self.clock = clock

        self.module: Module
        self.data: DataModule
        self.validation_data: ValidationData
        self.stepper: Stepper
        self.opened: SavedCheckpoint | None = None
        self.progress = Progress()
        self.requests = Requests()
        self.loss_meter = LossMeter()
        self.stopwatch = Stopwatch(clock)
        self.device_scalars: Scalars = {}
        self.scalars: Mapping[str, float] = {}
        """The newest numbers: ``loss`` (mean since the last log point), what the module logs,
        ``grad_norm``."""
        self.at_log_point = False
        self.examples_per_step = 0.0
        """As of the newest log point."""
        self.metrics: Mapping[str, float] = {}
        self.metrics_step: int | None = None
        self.committed_at = clock()
        self.stop_at = math.inf
        self.batches_per_epoch = 0
        self.steps_per_epoch = 0
        """Optimizer steps of one epoch."""
        self.total_steps = 0
        """The step at which training is complete."""
        self.validates = False
        """Whether there is anything to validate on, and a module that can."""

    # What users call.

    def fit(
        self,
        module: Module,
        data: DataModule,
        *,
        resume: str | Path = "auto",
        init_from: str | Path | None = None,
        accept_changes: bool = False,
    ) -> FitResult:
        """Train, from the newest whole checkpoint of the run directory or from the start.

        Args:
            resume: ``"auto"`` goes on where the run directory stands, or begins; ``"never"``
                begins, in a directory without checkpoints; a path goes on from that checkpoint of
                this run.
            init_from: a checkpoint whose weights a new run begins with; what does not fit is made
                anew and listed.
            accept_changes: go on although configuration or data differ from the checkpoint's.

        Raises:
            UsageError: the configuration, the run directory or the checkpoint does not fit.
            RunError: the run cannot go on (a checkpoint could not be saved, say).
        """
        killpoints.arm()
        with ExitStack() as stack:
            stack.enter_context(self.ranks.reporting())
            if self._written_to is not None:
                announce_run_dir(self._written_to)
            self._attach(module, data)
            if (
                init_from is not None
                and self.ranks.is_first
                and not (self.store and self.store.generations())
            ):
                initialise(module, resolve_checkpoint(Path(init_from), prefer=BEST))
            if self.store is not None:
                stack.enter_context(self.store.locked())
            self.opened = choose_checkpoint(self.store, resume, self.ranks)
            if self.opened is not None:
                restore(self, self.opened, accept_changes=accept_changes)
            self.ranks.broadcast(list(module.state_dict().values()))
            return self._run()

    def validate(
        self, module: Module, data: ValidationData, checkpoint: str | Path | None = None
    ) -> dict[str, float]:
        """Validate a checkpoint's weights (the averaged ones where it has them), or the module as
        it is.

        Args:
            checkpoint: a generation, ``best_model``, or a run directory, of which the best is
                taken.

        Returns:
            The module's metrics; empty where the validation was ended by request.
        """
        self.module, self.validation_data = module, data
        module.ranks = self.ranks
        self.requests, self.progress = Requests(), Progress()
        with self.ranks.reporting():
            if checkpoint is not None:
                saved = resolve_checkpoint(Path(checkpoint), prefer=BEST)
                load_weights(module, saved)
                self.progress = Progress(epoch=saved.state.last_epoch, step=saved.state.step)
            return run_validation(self) or {}

    def request_stop(self, reason: str) -> None:
        """Commit and leave after the step or validation batch under way. From any thread or signal
        handler."""
        self.requests.stop(reason)

    def request_validation(self) -> None:
        """Validate after the step under way."""
        self.requests.validation = True

    def request_end_of_validation(self) -> None:
        """End the validation under way without metrics, and go on."""
        self.requests.end_validation = True

    def request_commit(self, tag: str) -> None:
        """Take a checkpoint after the step under way; the tag says why, in the log."""
        self.requests.commit_tags.append(tag)

    @property
    def live(self) -> LiveState:
        """What the run is doing now, for any thread."""
        progress = self.progress
        steps_left = self.total_steps - progress.step
        validations_left = self.validate_every.times_in(
            steps_left, steps_per_epoch=self.steps_per_epoch
        )
        return LiveState(
            epoch=progress.epoch,
            step=progress.step,
            max_steps=self.total_steps,
            train_loss=self.scalars.get("loss"),
            train_accuracy=self.scalars.get("accuracy"),
            eta_seconds=self.stopwatch.eta(steps_left, validations_left),
            metrics=self.metrics,
        )

    # What callbacks use.

    @property
    def run_dir(self) -> Path | None:
        """Where this rank writes; ``None`` where it writes nothing."""
        return None if self.store is None else self.store.folder

    @property
    def examples_per_second(self) -> float:
        """Of all ranks over the recent steps, waits for data included, validations and commits
        not."""
        return self.examples_per_step * self.stopwatch.steps_per_second

    @property
    def learning_rate(self) -> float:
        """The optimizer's present learning rate. Schedules set it before each step."""
        return float(self.stepper.optimizer.get_lr())

    @learning_rate.setter
    def learning_rate(self, value: float) -> None:
        self.stepper.optimizer.set_lr(value)

    # What the loop uses.

    def fetch_scalars(self) -> None:
        """Bring the log's numbers from the device, all in one transfer."""
        self.scalars = {**self.scalars, **self.loss_meter.read(self.device_scalars)}

    def commit(self) -> None:
        """Take a snapshot and hand it to the first rank's callbacks; the others wait, however long
        the disk takes."""
        if not self.at_log_point:
            self.fetch_scalars()
        self.requests.commit_tags.clear()
        if self.store is not None:
            self.hooks.call("on_commit", self, take_snapshot(self))
        self.ranks.exchange(None)
        self.committed_at = self.clock()

    # Setting up.

    def _attach(self, module: Module, data: DataModule) -> None:
        if data.world_size != self.ranks.size:
            raise UsageError(
                f"the data shares each batch out among {data.world_size} processes, but the run has {self.ranks.size}: "
                "set its world_size, and give it its part by the rank (vprtrain.ranks.connect_ranks() knows both)"
            )
        prepare_for(self.ranks, module)
        self.module = module
        self.data = FirstBatches(data, count=self.overfit_batches) if self.overfit_batches else data
        if self.fast_dev_run:
            count = self.fast_dev_run
            self.data = FirstBatches(
                self.data, count=count * self.accumulate, validation_count=count
            )
        self.validation_data = self.data
        self.validates = bool(module.metric_names) and self.data.validation_batches() is not None
        self.batches_per_epoch = self.data.steps_per_epoch
        if self.batches_per_epoch < 1:
            raise UsageError("the training data has no batch: fewer examples than batch_size?")
        if not (self.max_epochs or self.max_steps):
            raise UsageError("neither max_epochs nor max_steps is given: expected at least one")
        self.steps_per_epoch = math.ceil(self.batches_per_epoch / self.accumulate)
        ends = (self.max_steps, self.max_epochs and self.max_epochs * self.steps_per_epoch)
        self.total_steps = min(end for end in ends if end)
        self.requests = Requests()
        self.opened, self.progress = None, Progress()
        self.metrics, self.metrics_step, self.scalars, self.device_scalars = {}, None, {}, {}
        self.at_log_point = False
        self.loss_meter, self.stopwatch = LossMeter(), Stopwatch(self.clock)
        self.stop_at = self.clock() + 3600 * self.max_time if self.max_time else math.inf
        trained = module.trained_parameters()
        self.stepper = Stepper(
            module=module,
            trained=trained,
            optimizer=self.optimizer_factory.build(trained),
            clip_norm=self.clip_norm,
            seed_of=partial(seeding.key, self.seed, self.ranks.rank),
            combining=Combining(
                ranks=self.ranks, module=module, trained=trained, share=self.data.share
            ),
        )

    def _run(self) -> FitResult:
        try:
            self.hooks.call("on_fit_start", self)
            if self.opened is not None and self.progress.step != self.opened.state.step:
                raise UsageError(
                    f"{self.opened.folder} cannot be resumed from without the ResumeStep callback"
                )
            self.data.setup(self.run_dir, resumed=self.opened is not None)
            # the first may have rehearsed its saving for long: a collective would not wait
            self.ranks.exchange(None)
            stopped_by = TrainingLoop(self).run()
        except BaseException as error:
            self.hooks.unwind("on_exception", self, error)
            self.hooks.unwind("on_fit_end", self)
            raise
        if (failure := self.hooks.unwind("on_fit_end", self)) is not None:
            raise failure
        return FitResult(
            stopped_by=stopped_by,
            epoch=self.progress.epoch,
            step=self.progress.step,
            metrics=dict(self.metrics),
        )


def _require_positive(**values: int | None) -> None:
    for name, value in values.items():
        if value is not None and value < 1:
            raise UsageError(f"{name} is {value}: expected at least 1")
