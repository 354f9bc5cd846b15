"""The Engine: fits and validates any Module on any DataModule. It knows nothing about audio or
speakers.

The path of a training step: ``Engine.fit`` here, ``TrainingLoop`` (engine/loop.py), ``Stepper.run``
(engine/stepper.py), ``training_step`` of the module.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from vprtrain.checkpoint.links import BEST, resolve_checkpoint
from vprtrain.checkpoint.store import Store
from vprtrain.engine import killpoints
from vprtrain.engine.callback import Callback
from vprtrain.engine.hooks import Hooks
from vprtrain.engine.interval import Interval
from vprtrain.engine.loop import TrainingLoop
from vprtrain.engine.module import DataModule, Module, ValidationData
from vprtrain.engine.optimizers import Adam, OptimizerFactory
from vprtrain.engine.persistence import choose_checkpoint, initialise, load_weights, restore
from vprtrain.engine.run import Run, ValidationRun
from vprtrain.engine.settings import Settings
from vprtrain.engine.state import FitResult, LiveState, Progress
from vprtrain.engine.stateful import CallbackStates
from vprtrain.engine.validation import check_validation, predictions, run_validation
from vprtrain.errors import UsageError
from vprtrain.ranks.launched_ranks import connect_ranks
from vprtrain.ranks.rank_process import announce_run_dir
from vprtrain.ranks.ranks import Ranks


class Engine:
    """Trains and validates. It holds the settings and the callbacks; the state of each ``fit`` is a
    new :class:`~vprtrain.engine.run.Run`.

    Args:
        run_dir: the folder for checkpoints and logs; ``None`` writes nothing.
        optimizer: a factory; its learning rate applies if no schedule sets another.
        callbacks: called in this order, ResumeStep first and Checkpoint last.
        max_epochs: train for so many epochs, or until ``max_steps``; one of them is required.
        max_steps: train for so many steps, or until ``max_epochs``.
        max_time: after so many hours this call commits and stops; the next call resumes.
        validate_every: ``"1 epoch"``, ``"500 steps"`` or ``"never"``; unless never, also after the
            last step.
        sanity_batches: validation batches to try before the first step of a new run, so that an
            error in them does not appear hours later; 0 for none.
        commit_every: ``"1 epoch"``, ``"500 steps"``, ``"10 minutes"`` or ``"never"``; always also
            after the last step.
        accumulate: micro-batches per optimizer step, which uses the mean of their gradients.
        clip_norm: the largest global norm of the gradient; ``None`` for no clipping.
        log_every: the number of steps between two log points, at which numbers are fetched from the
            device and shown.
        fast_dev_run: try everything on this many training and validation batches, and write
            nothing.
        overfit_batches: train on the first so many batches again and again.
        agree_every: with several ranks, the number of steps between two exchanges of their
            requests; a stop takes at most so many steps.
        seed: of the device's randomness in each step; the data has its own seed.
        config: text saved as ``config.yaml`` in each checkpoint.
        clock: a monotonic clock in seconds; tests inject their own.
        ranks: the processes of this run; ``None`` for those that were launched.

    Raises:
        UsageError: a value is out of range.
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
        sanity_batches: int = 2,
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
        self.settings = Settings(
            # absolute, because the user's code may change the working folder
            run_dir=None if run_dir is None or fast_dev_run else Path(run_dir).absolute(),
            optimizer=optimizer or Adam(),
            max_epochs=max_epochs,
            max_steps=fast_dev_run or max_steps,
            max_time=max_time,
            validate_every=Interval.parse(
                validate_every, option="validate_every", units=("epochs", "steps")
            ),
            sanity_batches=sanity_batches,
            commit_every=Interval.parse(commit_every, option="commit_every"),
            accumulate=accumulate,
            clip_norm=clip_norm,
            log_every=log_every,
            fast_dev_run=fast_dev_run,
            overfit_batches=overfit_batches,
            agree_every=agree_every,
            seed=seed,
            config=config,
            clock=clock,
            ranks=ranks or connect_ranks(),
        )
        self.hooks = Hooks(callbacks)
        self.run: ValidationRun | None = None
        """The current or latest run; ``None`` before the first."""

    def fit(
        self,
        module: Module,
        data: DataModule,
        *,
        resume: str | Path = "auto",
        init_from: str | Path | None = None,
        accept_changes: bool = False,
    ) -> FitResult:
        """Train, from the newest intact checkpoint of the run directory or from the start.

        Args:
            resume: ``"auto"`` resumes the run in the run directory, or starts one; ``"never"``
                starts one, and refuses a directory with checkpoints; a path resumes from that
                checkpoint of this run.
            init_from: a checkpoint whose weights a new run starts from. Weights that do not fit
                keep their fresh values and are listed in the log.
            accept_changes: resume although configuration or data differ from the checkpoint's.

        Raises:
            UsageError: the configuration, the run directory or the checkpoint does not fit.
            RunError: the run cannot go on, for example because a checkpoint could not be saved.
        """
        killpoints.arm()
        settings, ranks = self.settings, self.settings.ranks
        with ExitStack() as stack:
            stack.enter_context(ranks.reporting())
            if settings.run_dir is not None:
                announce_run_dir(settings.run_dir)
            store = Store(settings.run_dir) if settings.run_dir and ranks.is_first else None
            self.run = run = Run(
                settings=settings,
                module=module,
                data=data,
                store=store,
                callbacks=CallbackStates(self.hooks.callbacks),
            )
            if init_from is not None and ranks.is_first and not (store and store.generations()):
                initialise(module, resolve_checkpoint(Path(init_from), prefer=BEST))
            if store is not None:
                stack.enter_context(store.locked())
            checkpoint = choose_checkpoint(store, resume, ranks)
            if checkpoint is not None:
                restore(run, checkpoint, accept_changes=accept_changes)
            ranks.broadcast(list(module.state_dict().values()))
            return self._train(run)

    def validate(
        self, module: Module, data: ValidationData, checkpoint: str | Path | None = None
    ) -> dict[str, float]:
        """Validate a checkpoint's weights (the averaged ones if it has them), or the module as it
        is.

        Args:
            checkpoint: a generation, ``best_model``, or a run directory; its best_model is used.

        Returns:
            The module's metrics; empty if a request ended the validation.
        """
        with self.settings.ranks.reporting():
            progress = Progress()
            if checkpoint is not None:
                saved = resolve_checkpoint(Path(checkpoint), prefer=BEST)
                progress = Progress(epoch=saved.state.last_epoch, step=saved.state.step)
            self.run = run = ValidationRun(
                settings=self.settings, module=module, data=data, progress=progress
            )
            if checkpoint is not None:
                load_weights(module, saved)
            return run_validation(run, self.hooks) or {}

    def test(self, module: Module, data: ValidationData) -> dict[str, float]:
        """Validate the best checkpoint of the run directory on other data.

        Returns:
            As :meth:`validate`, which takes any checkpoint.

        Raises:
            UsageError: the engine has no run directory, or it holds no checkpoint.
        """
        if self.settings.run_dir is None:
            raise UsageError("test needs the engine's run_dir: its best checkpoint is validated")
        return self.validate(module, data, self.settings.run_dir)

    def predict(
        self, module: Module, batches: Iterable[Any], checkpoint: str | Path | None = None
    ) -> Iterator[Any]:
        """What the module's ``predict_step`` returns for each batch, in evaluation mode and without
        gradients. The module gets its mode back when the iterator ends or is closed.

        Args:
            checkpoint: as in :meth:`validate`; ``None`` for the module as it is.
        """
        if checkpoint is not None:
            load_weights(module, resolve_checkpoint(Path(checkpoint), prefer=BEST))
        return predictions(module, batches)

    @property
    def live(self) -> LiveState:
        """What the current or latest run is doing. From any thread."""
        return LiveState() if self.run is None else self.run.live

    def request_stop(self, reason: str) -> None:
        """Commit and stop after the current step or validation batch. From any thread or signal
        handler. Like the other requests it concerns the current run: between two runs it has no
        effect."""
        if self.run is not None:
            self.run.request_stop(reason)

    def request_validation(self) -> None:
        """Validate after the current step."""
        if self.run is not None:
            self.run.request_validation()

    def request_end_of_validation(self) -> None:
        """End the current validation without metrics, and go on."""
        if self.run is not None:
            self.run.request_end_of_validation()

    def request_commit(self, tag: str) -> None:
        """Take a checkpoint after the current step; the tag says why."""
        if self.run is not None:
            self.run.request_commit(tag)

    def _train(self, run: Run) -> FitResult:
        """Call the hooks around the training loop; whatever happens, the clean-up hooks run."""
        try:
            self.hooks.call("on_fit_start", run)
            if run.opened is not None and run.progress.step != run.opened.state.step:
                raise UsageError(
                    f"{run.opened.folder} cannot be resumed without the ResumeStep callback: "
                    "add it to the callbacks"
                )
            run.data.setup(run.run_dir, resumed=run.opened is not None)
            run.find_validation_data()
            # Rank 0 may have rehearsed a commit for long. A collective would time out; this waits.
            run.ranks.exchange(None)
            check_validation(run)
            stopped_by = TrainingLoop(run, self.hooks).run()
        except BaseException as error:
            self.hooks.unwind("on_exception", run, error)
            self.hooks.unwind("on_fit_end", run)
            raise
        if (failure := self.hooks.unwind("on_fit_end", run)) is not None:
            raise failure
        return FitResult(
            stopped_by=stopped_by,
            epoch=run.progress.epoch,
            step=run.progress.step,
            metrics=dict(run.metrics),
        )
