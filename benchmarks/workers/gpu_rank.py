"""One rank of a short run: ``gpu_rank.py OPTIONS`` with options as JSON.

Each rank writes the change of its weights in the run, and the median seconds of a step, into the
file ``out`` with its rank as the ending. A run of one process is rank 0. The optimizer is not Adam,
which would turn rounding errors of small gradients into whole steps.
"""

from __future__ import annotations

import json
import sys
import time

import numpy as np
from speaker_step import OneBatch, make_batch, make_module

from vprtrain import runtime
from vprtrain.engine import Callback, Engine, Momentum, Run
from vprtrain.ranks import connect_ranks
from vprtrain.speaker.module import SpeakerModule


class StepTimes(Callback):
    """The time at the end of each step."""

    def __init__(self) -> None:
        self.ends: list[float] = []

    def on_train_batch_end(self, run: Run) -> None:
        self.ends.append(time.perf_counter())


def weights(module: SpeakerModule) -> np.ndarray:
    return np.concatenate([value.numpy().ravel() for value in module.state_dict().values()])


def main(*, model: str, device: str, batch: int, seconds: float, steps: int, out: str) -> None:
    runtime.prepare()
    if device == "cpu":
        runtime.use_device("cpu")
    ranks = connect_ranks(cpu=device == "cpu")
    module, times = make_module(model), StepTimes()
    data = OneBatch(make_batch(batch, seconds), steps=steps, ranks=ranks)
    before = weights(module)
    Engine(
        max_epochs=1,
        optimizer=Momentum(learning_rate=1e-2),
        clip_norm=5.0,
        callbacks=[times],
        ranks=ranks,
    ).fit(module, data)
    step = np.median(np.diff(times.ends)) if steps > 1 else np.nan
    np.savez(f"{out}.{ranks.rank}.npz", change=weights(module) - before, step=step)


if __name__ == "__main__":
    main(**json.loads(sys.argv[1]))
