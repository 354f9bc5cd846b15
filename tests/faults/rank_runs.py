"""One rank of a small run of the toy module, as a command line would train it: ``rank_runs.py
RUN_DIR NAME=VALUE ..``.

``do=ACT rank=N at=STEP`` acts on one rank after a step: it makes the rank ``raise``, gives it a
loss of ``nan`` from then on, lets it ``wait`` longer than gloo's timeout, or sends it a signal. The
other options are those of the fit.
"""

from __future__ import annotations

import math
import os
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import paddle
from recovery import fit
from toy import ToyData, ToyModule

from vprtrain import runtime
from vprtrain.callbacks import EtaLogger, GracefulStop, NanGuard
from vprtrain.commands import program
from vprtrain.commands.training import exit_status
from vprtrain.engine import Callback, Run, ValidationRun
from vprtrain.ranks import connect_ranks

BATCH_SIZE = 12


class SharedData(ToyData):
    """The toy's data in batches of 12, of which rank 0 takes most and the other ranks the rest."""

    def __init__(self, *, validation_seconds: float) -> None:
        super().__init__(batches=12, batch_size=BATCH_SIZE)
        ranks = connect_ranks()
        self.rank, self.world_size = ranks.rank, ranks.size
        self._validation_seconds = validation_seconds
        self._ends = [0, *(7 + 5 * (each + 1) // ranks.size for each in range(ranks.size))]

    def train_batches(self, epoch: int, start: int) -> Iterator[Any]:
        part = slice(self._ends[self.rank], self._ends[self.rank + 1])
        for x, y in super().train_batches(epoch, start):
            yield x[part], y[part]

    def share(self, batch: Any) -> float:
        return len(batch[0]) / BATCH_SIZE

    def validation_batches(self) -> Iterator[Any]:
        """Batches of 4, alternating between the ranks. The last rank waits ``validation_seconds``
        in all."""
        own = range(self.rank, len(self.x) // 4, self.world_size)
        for number in own:
            if self.rank == self.world_size - 1:
                time.sleep(self._validation_seconds / len(own))
            part = slice(4 * number, 4 * number + 4)
            yield np.arange(len(self.x))[part], self.x[part], self.y[part]


class SharedModule(ToyModule):
    """The toy module with gathered residuals, a layer that is never used, and one that each rank
    uses by chance. ``plain`` leaves out what depends on how a batch is divided."""

    def __init__(self, *, plain: bool) -> None:
        super().__init__()
        self.factor = 1.0
        self.plain = plain
        if plain:
            self.layers = paddle.nn.Sequential(
                paddle.nn.Linear(8, 16), paddle.nn.Tanh(), paddle.nn.Linear(16, 1)
            )
        self.unused = paddle.nn.Linear(2, 2)
        self.used_by_some = paddle.nn.Linear(8, 1)

    def training_step(self, batch: Any) -> Any:
        loss, _ = super().training_step(batch)
        loss = loss * self.factor
        if self.plain and self.ranks.is_first:
            loss = loss + 0.0 * self.used_by_some(paddle.to_tensor(batch[0])).mean()
        if not self.plain and np.random.rand() < 0.4:
            loss = loss + (self.used_by_some(paddle.to_tensor(batch[0])) ** 2).mean()
        return loss, {"positive": paddle.to_tensor((batch[1] > 0).mean(), dtype="float32")}

    def validation_step(self, batch: Any) -> None:
        numbers, x, y = batch
        residual = self.layers(paddle.to_tensor(x)).numpy() - y
        self.residuals.append(np.concatenate([numbers[:, None], residual], axis=1))

    def on_validation_end(self) -> dict[str, float]:
        rows = np.concatenate(self.ranks.gather(np.concatenate(self.residuals)))
        residual = rows[np.argsort(rows[:, 0]), 1]
        return {"error": float((residual**2).mean()), "bias": float(residual.mean())}


@dataclass(frozen=True)
class Act(Callback):
    """Acts on one rank after a step."""

    what: str
    rank: int
    step: int

    def on_train_batch_end(self, run: Run) -> None:
        if run.progress.step != self.step or run.ranks.rank != self.rank:
            return
        match self.what:
            case "raise":
                raise ZeroDivisionError("as the test wants it")
            case "nan":
                run.module.factor = math.nan
            case "wait":
                time.sleep(35.0)
            case name:
                os.kill(os.getpid(), signal.Signals[name])


@dataclass(frozen=True)
class Tell(Callback):
    """Prints each step and validation batch, and waits after each step."""

    seconds: float

    def on_train_batch_end(self, run: Run) -> None:
        print(f"step {run.progress.step} done by {os.getpid()}", flush=True)
        time.sleep(self.seconds)

    def on_validation_batch_end(self, run: ValidationRun) -> None:
        print(f"validating after step {run.progress.step}", flush=True)

    def on_fit_end(self, run: Run) -> None:
        print(f"ended at step {run.progress.step}", flush=True)


def run(
    run_dir: str,
    *,
    do: str | None = None,
    rank: str = "0",
    at: str = "0",
    seconds: str = "0",
    validation_seconds: str = "0",
    plain: str = "",
    accept_changes: str = "",
    **options: str,
) -> int:
    acts = [] if do is None else [Act(do, int(rank), int(at))]
    result = fit(
        Path(run_dir),
        GracefulStop(),
        EtaLogger(),
        NanGuard(),
        *acts,
        Tell(float(seconds)),
        module=lambda: SharedModule(plain=bool(plain)),
        data=SharedData(validation_seconds=float(validation_seconds)),
        sanity_batches=0,  # the slow validations of the training are meant
        agree_every=4,
        fit={"accept_changes": bool(accept_changes)},
        **options,
    ).result
    return exit_status(result)


def main(arguments: list[str]) -> int:
    runtime.prepare()
    runtime.log_to_stderr()
    run_dir, *options = arguments
    return run(run_dir, **dict(option.split("=") for option in options))


if __name__ == "__main__":
    program.run(main)
