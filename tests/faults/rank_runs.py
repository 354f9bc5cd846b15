"""One rank of a small run of the toy module: ``rank_runs.py RUN_DIR [OPTION=VALUE ..]``, as a command line would.

``rank=N`` chooses at which rank something is done, ``at=STEP`` after which step: ``do=`` kill, raise, SIGTERM, SIGINT.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import paddle
from recovery import fit
from toy import ToyData, ToyModule

from vprtrain import cli, distributed, runtime
from vprtrain.callbacks import EtaLogger, GracefulStop
from vprtrain.engine import Callback, Engine
from vprtrain.recipe import exit_status


class SharedData(ToyData):
    """The toy's batches of 6, shared out unequally: the first rank takes most."""

    def __init__(self, *, validation_seconds: float = 0.0, steps: int = 12) -> None:
        super().__init__(batches=steps, batch_size=12)
        ranks = distributed.start()
        self.rank, self.world_size = ranks.rank, ranks.size
        self._validation_seconds = validation_seconds
        self._ends = [0, *(7 + 5 * (each + 1) // self.world_size for each in range(self.world_size))]

    def train_batches(self, epoch: int, start: int) -> Iterator[Any]:
        part = slice(self._ends[self.rank], self._ends[self.rank + 1])
        for x, y in super().train_batches(epoch, start):
            yield x[part], y[part]

    def share(self, batch: Any) -> float:
        return len(batch[0]) / 12

    def validation_batches(self) -> Iterator[Any]:
        """The ranks take turns; the last one is slow."""
        for number in range(len(self.x) // 4):
            if number % self.world_size != self.rank:
                continue
            if self.rank == self.world_size - 1 and self._validation_seconds:
                time.sleep(self._validation_seconds / (len(self.x) // 4 // self.world_size))
            part = slice(4 * number, 4 * number + 4)
            yield np.arange(len(self.x))[part], self.x[part], self.y[part]


class SharedModule(ToyModule):
    """The toy without batch statistics and dropout, which depend on how a batch is shared out."""

    def __init__(self, *, norm: bool = False) -> None:
        super().__init__()
        if not norm:
            self.layers = paddle.nn.Sequential(paddle.nn.Linear(8, 16), paddle.nn.Tanh(), paddle.nn.Linear(16, 1))
        self.unused = paddle.nn.Linear(2, 2)

    def validation_step(self, batch: Any) -> None:
        numbers, x, y = batch
        residual = self.layers(paddle.to_tensor(x)).numpy() - y
        self.residuals.append(np.concatenate([numbers[:, None], residual], axis=1))

    def on_validation_end(self) -> dict[str, float]:
        rows = np.concatenate(self.ranks.gather(np.concatenate(self.residuals)))
        residual = rows[np.argsort(rows[:, 0]), 1]
        return {"error": float((residual**2).mean()), "bias": float(residual.mean())}


class Act(Callback):
    """Does something to one rank after a step."""

    def __init__(self, what: str, rank: int, step: int) -> None:
        self._what, self._rank, self._step = what, rank, step

    def on_train_batch_end(self, engine: Engine) -> None:
        if engine.progress.step != self._step or engine.ranks.rank != self._rank:
            return
        if self._what == "raise":
            raise ZeroDivisionError("as the test wants it")
        if self._what == "slow":
            time.sleep(2.0)
        else:
            os.kill(os.getpid(), signal.Signals[self._what])


class Say(Callback):
    def on_train_batch_end(self, engine: Engine) -> None:
        print(f"step {engine.progress.step} done", flush=True)
        time.sleep(self._seconds)

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    def on_validation_batch_end(self, engine: Engine) -> None:
        print(f"validating after step {engine.progress.step}", flush=True)


def run(run_dir: Path, options: dict[str, str]) -> int:
    acts = []
    if "do" in options:
        acts.append(Act(options["do"], int(options.get("rank", "0")), int(options["at"])))
    if "say" in options:
        acts.append(Say(float(options["say"])))
    data = SharedData(
        validation_seconds=float(options.get("validation_seconds", "0")), steps=int(options.get("steps", "12"))
    )
    result = fit(
        run_dir,
        GracefulStop(),
        EtaLogger(),
        *acts,
        module=lambda: SharedModule(norm="norm" in options),
        data=data,
        agree_every=int(options.get("agree_every", "4")),
        validate_every=options.get("validate_every", "4 steps"),
        commit_every=options.get("commit_every", "3 steps"),
        max_epochs=int(options.get("max_epochs", "2")),
        fit={"accept_changes": "accept_changes" in options},
    ).result
    return exit_status(result)


def main(arguments: list[str]) -> int:
    runtime.prepare()
    runtime.log_to_stderr()
    run_dir, *options = arguments
    return run(Path(run_dir), dict(option.split("=") for option in options))


if __name__ == "__main__":
    cli.run(main)
