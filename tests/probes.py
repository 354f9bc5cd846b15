"""Shared by the callbacks' tests: a run of the toy module, and callbacks that observe or stop
it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import paddle
from toy import ToyData, ToyModule

from vprtrain.callbacks import Checkpoint, ResumeStep
from vprtrain.checkpoint.state_file import SavedCheckpoint, open_checkpoint
from vprtrain.engine import Callback, DataModule, Engine, FitResult, Module, Run, ValidationRun


@dataclass(frozen=True, kw_only=True)
class Trained:
    """A fit that has ended."""

    engine: Engine
    module: Module
    result: FitResult

    @property
    def run(self) -> Run:
        assert isinstance(self.engine.run, Run)
        return self.engine.run

    @property
    def weights(self) -> dict[str, np.ndarray]:
        return {name: tensor.numpy() for name, tensor in self.module.state_dict().items()}


def train(
    *callbacks: Callback,
    run_dir: Path | None = None,
    module: Callable[[], Module] = ToyModule,
    data: DataModule | None = None,
    fit: dict[str, Any] | None = None,
    **options: Any,
) -> Trained:
    """Fit a new module with always the same initial weights. With a ``run_dir`` it saves and
    resumes."""
    paddle.seed(0)
    made = module()
    saving = [ResumeStep(), Checkpoint()] if run_dir is not None else []
    given = {callback.role for callback in callbacks}
    saving = [callback for callback in saving if callback.role not in given]
    engine = Engine(
        run_dir=run_dir,
        callbacks=[*saving, *callbacks],
        **{"max_epochs": 2, "log_every": 2} | options,
    )
    result = engine.fit(made, data or ToyData(), **fit or {})
    return Trained(engine=engine, module=made, result=result)


def last(run_dir: Path) -> SavedCheckpoint:
    return open_checkpoint(run_dir / "last_model")


def assert_equal_arrays(ours: dict[str, np.ndarray], theirs: dict[str, np.ndarray]) -> None:
    """The same names, the same bits."""
    assert ours.keys() == theirs.keys()
    for name, array in ours.items():
        np.testing.assert_array_equal(array, theirs[name], err_msg=name)


class StopAfter(Callback):
    """Ends the run after a step, as a signal would."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_train_batch_end(self, run: Run) -> None:
        if run.progress.step == self.step:
            run.request_stop("test")


class FailAt(Callback):
    """Ends the run after a step, as a kill would: without a commit."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_train_batch_end(self, run: Run) -> None:
        if run.progress.step == self.step:
            raise OSError("the disk is gone")


class Watch(Callback):
    """Collects what ``look`` returns each time that an event happens."""

    def __init__(self, event: str, look: Callable[[Any], Any]) -> None:
        self.event, self.look, self.seen = event, look, []

    def on_fit_start(self, run: Run) -> None:
        self._note("on_fit_start", run)

    def on_before_optimizer_step(self, run: Run) -> None:
        self._note("on_before_optimizer_step", run)

    def on_train_batch_end(self, run: Run) -> None:
        self._note("on_train_batch_end", run)

    def on_validation_batch_end(self, run: ValidationRun) -> None:
        self._note("on_validation_batch_end", run)

    def on_validation_end(self, run: ValidationRun, metrics: Any) -> None:
        self._note("on_validation_end", run)

    def _note(self, event: str, run: ValidationRun) -> None:
        if event == self.event:
            self.seen.append(self.look(run))


class Scored(ToyModule):
    """The toy module with a given ``error`` for each validation."""

    def __init__(self, *errors: float) -> None:
        super().__init__()
        self.errors = errors
        self.validations = 0

    def on_validation_end(self) -> dict[str, float]:
        error = self.errors[self.validations]
        self.validations += 1
        return {"error": error, "bias": 0.0}
