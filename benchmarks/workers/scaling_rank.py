"""One rank of a run whose steps are timed: ``scaling_rank.py OPTIONS`` with options as JSON.

Rank 0 writes the result into the file ``out``.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from vprtrain import models, runtime
from vprtrain.engine import Callback, DataModule, Engine, Run
from vprtrain.engine.seeding import seed_all
from vprtrain.features import Fbank
from vprtrain.losses import AAMLoss
from vprtrain.ranks import Ranks, connect_ranks
from vprtrain.speaker.data import SpeakerBatch
from vprtrain.speaker.module import SpeakerModule

CLASSES = 2000
SAMPLES = 3 * 16000
WARM_UP = 2


class Waveforms(DataModule):
    """The same noise in every batch, so that loading takes no time."""

    def __init__(self, *, ranks: Ranks, batch_size: int, steps: int) -> None:
        rng = np.random.default_rng(ranks.rank)
        waveforms = rng.normal(0, 0.1, (batch_size, SAMPLES)).astype("float32")
        self._batch = SpeakerBatch(waveforms, rng.integers(0, CLASSES, batch_size))
        self.world_size = ranks.size
        self._steps = steps

    @property
    def steps_per_epoch(self) -> int:
        return self._steps

    def train_batches(self, epoch: int, start: int) -> Iterator[SpeakerBatch]:
        yield from [self._batch] * (self._steps - start)

    def fingerprint(self) -> dict[str, Any]:
        return {}


class StepTimes(Callback):
    """The time at the end of each step."""

    def __init__(self) -> None:
        self.ends: list[float] = []

    def on_train_batch_end(self, run: Run) -> None:
        self.ends.append(time.perf_counter())


def exchange_times(ranks: Ranks) -> list[float]:
    """A list that gets the seconds of each later gradient exchange, with the wait for the slowest
    rank."""
    seconds: list[float] = []
    combine = ranks.combine

    def timed(*tensors: Any) -> None:
        started = time.perf_counter()
        combine(*tensors)
        seconds.append(time.perf_counter() - started)

    ranks.combine = timed  # type: ignore[method-assign]
    return seconds


def main(*, model: str, batch_size: int, steps: int, first_core: int, out: str) -> None:
    runtime.prepare()
    ranks = connect_ranks()
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {cores[(first_core + ranks.rank) % len(cores)]})
    seed_all(0)
    module = SpeakerModule(
        model=getattr(models, model)(),
        feature=Fbank(mean_norm=True),
        loss=AAMLoss(),
        num_classes=CLASSES,
    )
    data = Waveforms(ranks=ranks, batch_size=batch_size, steps=WARM_UP + steps)
    times, exchanges = StepTimes(), exchange_times(ranks)
    Engine(max_epochs=1, clip_norm=5.0, log_every=1000, callbacks=[times], ranks=ranks).fit(
        module, data
    )
    if ranks.is_first:
        taken = np.diff(times.ends)[WARM_UP - 1 :]
        found = {
            "step": float(np.median(taken)),
            "exchange": float(np.median(exchanges[WARM_UP:] or [0.0])),
        }
        Path(out).write_text(json.dumps(found))


if __name__ == "__main__":
    main(**json.loads(sys.argv[1]))
