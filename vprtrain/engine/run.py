"""The state of one run: made fresh by each ``fit`` or ``validate``, and handed to every hook."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import partial
from pathlib import Path

from vprtrain.checkpoint.state_file import SavedCheckpoint
from vprtrain.checkpoint.store import Store
from vprtrain.engine import seeding
from vprtrain.engine.batches import closing
from vprtrain.engine.combining import Combining, prepare_batch_norm
from vprtrain.engine.meter import LossMeter, Stopwatch
from vprtrain.engine.module import DataModule, FirstBatches, Module, Scalars, ValidationData
from vprtrain.engine.settings import Settings
from vprtrain.engine.state import LiveState, Progress
from vprtrain.engine.stateful import CallbackStates
from vprtrain.engine.stepper import Stepper
from vprtrain.engine.stop import Requests
from vprtrain.errors import UsageError


class ValidationRun:
    """What a validation needs, within a fit or alone. The ``on_validation_*`` hooks receive it."""

    def __init__(
        self, *, settings: Settings, module: Module, data: ValidationData, progress: Progress
    ) -> None:
        self.settings = settings
        self.ranks = settings.ranks
        self.module = module
        self.validation_data = data
        self.requests = Requests()
        self.metrics: Mapping[str, float] = {}
        """Of the newest validation; empty before the first."""
        self.metrics_step: int | None = None
        """The step of the newest validation."""
        self._progress = progress
        module.ranks = settings.ranks

    @property
    def progress(self) -> Progress:
        """The position. Only the loop moves it."""
        return self._progress

    @property
    def live(self) -> LiveState:
        """What the run is doing now. From any thread."""
        progress = self.progress
        return LiveState(epoch=progress.epoch, step=progress.step, metrics=self.metrics)

    def record_metrics(self, metrics: Mapping[str, float], step: int) -> None:
        """Note the result of the newest validation. For the engine."""
        self.metrics, self.metrics_step = metrics, step

    def request_stop(self, reason: str) -> None:
        """Commit and stop after the current step or validation batch. From any thread or signal
        handler."""
        self.requests.stop(reason)

    def request_validation(self) -> None:
        """Validate after the current step."""
        self.requests.validation = True

    def request_end_of_validation(self) -> None:
        """End the current validation without metrics, and go on."""
        self.requests.end_validation = True

    def request_commit(self, tag: str) -> None:
        """Take a checkpoint after the current step; the tag says why."""
        self.requests.commit_tags.append(tag)


class Run(ValidationRun):
    """The state of one ``fit``. All hooks but ``on_validation_*`` receive it.

    Callbacks read it. They write only :attr:`learning_rate`, the module's scheduled values and, in
    ``on_fit_start``, ``stepper.precision``; they steer through the ``request_*`` methods.

    Args:
        store: the checkpoints of the run directory, on rank 0 of a run that writes.
        callbacks: the callbacks' part of a checkpoint.

    Raises:
        UsageError: the data does not fit the settings.
    """

    def __init__(
        self,
        *,
        settings: Settings,
        module: Module,
        data: DataModule,
        store: Store | None,
        callbacks: CallbackStates,
    ) -> None:
        _require_world_size(data, settings.ranks.size)
        data = _first_batches(data, settings)
        super().__init__(settings=settings, module=module, data=data, progress=Progress())
        self.data = data
        self.store = store
        self.callbacks = callbacks
        self.opened: SavedCheckpoint | None = None
        """The checkpoint that the run resumes from; ``None`` in a run from the start."""
        self.validates = False
        """Whether there is validation data and a module with metrics."""
        self.find_validation_data()
        self.batches_per_epoch = _batches_per_epoch(data)
        self.steps_per_epoch = math.ceil(self.batches_per_epoch / settings.accumulate)
        """Optimizer steps of one epoch."""
        self._epoch_offset = 0
        _require_limit(settings)
        self.started_at = settings.clock()
        self.stepper = _stepper(settings, module, data)
        self.loss_meter = LossMeter()
        self.stopwatch = Stopwatch(settings.clock)
        self.at_log_point = False
        """Whether the current or latest step is one whose numbers are logged."""
        self.device_scalars: Scalars = {}
        """What the latest step gave to log, on the device."""
        self.scalars: Mapping[str, float] = {}
        """The newest numbers: ``loss`` (mean since the last log point), what the module logs,
        ``grad_norm``."""
        self.examples_per_step = 0.0
        """As of the newest log point."""

    def find_validation_data(self) -> None:
        """Note whether there is anything to validate on. The engine asks again after the data's
        ``setup``, which may make it."""
        self.validates = bool(self.module.metric_names) and _has_validation(self.data)

    def move_to(self, progress: Progress) -> None:
        """Set the position. For the loop."""
        self._progress = progress

    def restore_position(self) -> None:
        """Set the position to that of the opened checkpoint. For ResumeStep, before the first
        fetch.

        If the data has shrunk below the position, the next epoch begins. Epochs count as epochs
        although their length may have changed: :meth:`steps_after` counts from this position on.
        """
        if self.opened is None:
            return
        state = self.opened.state
        epoch, batch = state.last_epoch, state.batch_in_epoch
        pending = state.validation_pending and self.validates  # validation data may be gone
        if batch >= self.batches_per_epoch and not pending:
            epoch, batch = epoch + 1, 0
        self._progress = Progress(
            epoch=epoch,
            batch_in_epoch=batch,
            step=state.step,
            validation_pending=pending,
        )
        if self.settings.max_epochs is not None:
            left = max(0, self.batches_per_epoch - batch)
            end = state.step + math.ceil(left / self.settings.accumulate)
            self._epoch_offset = end - (epoch + 1) * self.steps_per_epoch

    def steps_after(self, epochs: float) -> int:
        """The step at which so many epochs are complete.

        This is ``epochs * steps_per_epoch``, unless the run was resumed with epochs of another
        length: then the epochs before the resume keep the steps that they took. A run without
        ``max_epochs`` counts steps alone.
        """
        return self._epoch_offset + round(epochs * self.steps_per_epoch)

    @property
    def total_steps(self) -> int:
        """The step at which training is complete."""
        max_steps, max_epochs = self.settings.max_steps, self.settings.max_epochs
        ends = (max_steps, None if max_epochs is None else self.steps_after(max_epochs))
        return min(end for end in ends if end is not None)

    def fetch_scalars(self) -> None:
        """Bring the numbers to log from the device, all in one transfer. For the loop."""
        self.scalars = {**self.scalars, **self.loss_meter.read(self.device_scalars)}

    @property
    def live(self) -> LiveState:
        progress = self.progress
        steps_left = self.total_steps - progress.step
        validations_left = self.settings.validate_every.times_in(
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

    @property
    def run_dir(self) -> Path | None:
        """Where this rank writes; ``None`` if it writes nothing, as all ranks but rank 0."""
        return None if self.store is None else self.store.folder

    @property
    def examples_per_second(self) -> float:
        """Of all ranks over the recent steps. Waits for data count; validations and commits do
        not."""
        return self.examples_per_step * self.stopwatch.steps_per_second

    @property
    def learning_rate(self) -> float:
        """The optimizer's current learning rate. Schedules set it before each step."""
        return float(self.stepper.optimizer.get_lr())

    @learning_rate.setter
    def learning_rate(self, value: float) -> None:
        self.stepper.optimizer.set_lr(value)


def _require_world_size(data: DataModule, size: int) -> None:
    if data.world_size != size:
        raise UsageError(
            f"the data divides each batch among {data.world_size} ranks, but the run has {size}: "
            "set the data's world_size and rank (vprtrain.ranks.connect_ranks() knows both)"
        )


def _has_validation(data: DataModule) -> bool:
    batches = data.validation_batches()
    if batches is None:
        return False
    with closing(batches):  # it may have started processes
        return True


def _first_batches(data: DataModule, settings: Settings) -> DataModule:
    """The data, cut as ``overfit_batches`` and ``fast_dev_run`` ask for."""
    if settings.overfit_batches:
        data = FirstBatches(data, count=settings.overfit_batches)
    if count := settings.fast_dev_run:
        data = FirstBatches(data, count=count * settings.accumulate, validation_count=count)
    return data


def _batches_per_epoch(data: DataModule) -> int:
    if data.steps_per_epoch < 1:
        raise UsageError("the training data has no batch: fewer examples than batch_size?")
    return data.steps_per_epoch


def _require_limit(settings: Settings) -> None:
    if settings.max_epochs is None and settings.max_steps is None:
        raise UsageError("neither max_epochs nor max_steps is given: expected at least one")


def _stepper(settings: Settings, module: Module, data: DataModule) -> Stepper:
    """The stepper over the trained parameters, after the module is prepared for several ranks."""
    ranks = settings.ranks
    prepare_batch_norm(module, ranks)
    trained = module.trained_parameters()
    return Stepper(
        module=module,
        trained=trained,
        optimizer=settings.optimizer.build(trained),
        clip_norm=settings.clip_norm,
        seed_of=partial(seeding.key, settings.seed, ranks.rank),
        combining=None
        if ranks.size == 1
        else Combining(ranks=ranks, module=module, trained=trained, share=data.share),
    )
