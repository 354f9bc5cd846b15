"""Runs as users build them, which a test kills or stops: a module with a branch that some steps
use, fed by processes of its own.

Reads lines of JSON, ``{"run_dir": .., "loader": .., "kill_at": .., "slow": .., "freeze": ..}``,
forks a process for each run, prints its process number and later its exit status. ``loader`` is a
key of :data:`LOADERS`. With ``slow`` each batch takes a second. With ``freeze`` two layers are
frozen for 6 steps.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import sys
import time
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import paddle
from quick_disk import do_not_wait_for_the_disk
from toy import ToyData, ToyModule

from vprtrain import runtime
from vprtrain.callbacks import Freeze, default_callbacks
from vprtrain.commands.training import exit_status
from vprtrain.engine import AdamW, Engine, killpoints
from vprtrain.engine.seeding import seed_all

FORK = multiprocessing.get_context("fork")
Batch = tuple[np.ndarray, np.ndarray]


class Branching(ToyModule):
    """Uses a layer by chance, drawn from each of the three global generators in turn."""

    def __init__(self) -> None:
        super().__init__()
        self.branch = paddle.nn.Linear(8, 1)

    def training_step(self, batch: Any) -> Any:
        loss, scalars = super().training_step(batch)
        draws = random.random(), np.random.rand(), paddle.rand([1]).item()
        if draws[int(3 * draws[0])] < 0.5:
            loss = loss + (self.branch(paddle.to_tensor(batch[0])) ** 2).mean()
        return loss, scalars


class Plain(ToyData):
    """Batches made by other processes."""

    slow = False

    def batch(self, epoch: int, number: int) -> Batch:
        """One batch, made in another process."""
        if self.slow:
            time.sleep(1)
        return next(ToyData.train_batches(self, epoch, number))


class FromProcess(Plain):
    """A process an epoch puts its batches into a queue."""

    def train_batches(self, epoch: int, start: int) -> Iterator[Batch]:
        queue: Any = FORK.Queue()
        process = FORK.Process(target=self._put, args=(queue, epoch, start))
        process.start()
        try:
            for _ in range(start, self.batches):
                yield queue.get()
        finally:
            process.terminate()
            process.join()

    def _put(self, queue: Any, epoch: int, start: int) -> None:
        for number in range(start, self.batches):
            queue.put(self.batch(epoch, number))


class FromPool(Plain):
    """A pool an epoch."""

    def train_batches(self, epoch: int, start: int) -> Iterator[Batch]:
        pool = FORK.Pool(2)
        try:
            numbers = [(epoch, number) for number in range(start, self.batches)]
            for batch in [pool.apply_async(self.batch, one) for one in numbers]:
                yield batch.get()
        finally:
            pool.terminate()
            pool.join()


class FromDataLoader(Plain):
    """Paddle's loader with two worker processes."""

    def train_batches(self, epoch: int, start: int) -> Iterator[list[paddle.Tensor]]:
        outer = self

        class Batches(paddle.io.Dataset):
            def __len__(self) -> int:
                return outer.batches - start

            def __getitem__(self, number: int) -> Batch:
                return outer.batch(epoch, start + number)

        yield from paddle.io.DataLoader(Batches(), batch_size=None, num_workers=2)


LOADERS = {"process": FromProcess, "pool": FromPool, "dataloader": FromDataLoader}


def fit(run_dir: Path, loader: str, slow: bool, freeze: bool) -> int:
    """Start or resume the run of 12 steps, and return its exit status."""
    freezing = [Freeze(parts=["layers.0", "layers.1"], until_epoch=2, rate=0.1)] if freeze else []
    seed_all(5)
    data = LOADERS[loader](batches=9)
    data.slow = slow
    engine = Engine(
        run_dir=run_dir,
        optimizer=AdamW(learning_rate=0.02),
        callbacks=[*default_callbacks(), *freezing],
        max_epochs=4,
        accumulate=3,
        validate_every="5 steps",
        commit_every="2 steps",
        log_every=3,
        clip_norm=1.0,
    )
    return exit_status(engine.fit(Branching(), data))


def run_forked(request: dict[str, Any]) -> int:
    """Train in a forked process, and return its exit status (negative if a signal killed it)."""
    child = os.fork()
    if child:
        print(child, flush=True)
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    status = 1
    run_dir = Path(request["run_dir"])
    try:
        runtime.prepare()  # a forked process has no handlers of the one before
        log = os.open(run_dir.with_suffix(".log"), os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(log, 1)
        os.dup2(log, 2)
        if request["kill_at"] is not None:
            os.environ[killpoints.VARIABLE] = request["kill_at"]
        status = fit(run_dir, request["loader"], request["slow"], request["freeze"])
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(status)


def main() -> None:
    do_not_wait_for_the_disk()
    runtime.prepare()
    for line in sys.stdin:
        print(run_forked(json.loads(line)), flush=True)


if __name__ == "__main__":
    main()
