"""The overhead per step of the Engine with its default callbacks, over a bare Paddle loop that does
the same numeric work.

Both train the same tiny network on the same batch. Both clip gradients, set the learning rate and
reseed the global generators (of Paddle, NumPy and Python) in every step: a loop that resumes
exactly has to. They take turns every few steps in one process, so that a drift in the machine's
speed affects both alike. A second turn of the bare loop shows how much two equal turns differ (the
noise floor). A third kind of turn, a bare loop that reseeds Paddle's generator alone, shows what
reseeding the other two costs. Each round makes new networks, because the placement of their memory
alone accounts for up to 15 us.

    python benchmarks/engine_overhead.py [--rounds 5] [--pairs 80] [--steps 25]

The last line reads ``overhead: N us``: the median over the pairs of (engine - bare), in
microseconds per step.
"""

from __future__ import annotations

import argparse
import math
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from vprtrain import runtime


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0])
    parser.add_argument(
        "--rounds", type=int, default=5, help="each with a new engine and a new bare loop"
    )
    parser.add_argument(
        "--pairs",
        type=int,
        default=80,
        help="turns of engine and bare loop in each round",
    )
    parser.add_argument("--steps", type=int, default=25, help="steps in each turn")
    options = parser.parse_args()
    runtime.prepare()
    runtime.log_to_stderr()

    import paddle

    from vprtrain.callbacks import CosineWarmup, MarginSchedule, default_callbacks
    from vprtrain.engine import Adam, Callback, DataModule, Engine, Module
    from vprtrain.engine.clipping import clip_by_global_norm
    from vprtrain.engine.seeding import key, seed_all

    x, y = paddle.randn([16, 32]), paddle.randn([16, 4])
    warm_up = 4  # turns that are not counted
    total_steps = options.steps * (options.pairs + warm_up)
    clip_norm = 5.0

    class Network(Module):
        scheduled = ("margin",)

        def __init__(self) -> None:
            super().__init__()
            self.margin = 0.0
            self.layers = paddle.nn.Sequential(
                paddle.nn.Linear(32, 64),
                paddle.nn.ReLU(),
                paddle.nn.Dropout(0.1),
                paddle.nn.Linear(64, 4),
            )

        def training_step(self, batch):
            return paddle.nn.functional.mse_loss(self.layers(batch[0]), batch[1]), {}

    class Data(DataModule):
        steps_per_epoch = total_steps

        def train_batches(self, epoch, start):
            return ((x, y) for _ in range(start, total_steps))

        def fingerprint(self):
            return {}

    class BareLoop:
        def __init__(self, seed: Callable[[int], object] = seed_all) -> None:
            self.seed = seed
            self.network = Network()
            self.network.train()
            self.parameters = self.network.parameters()
            self.optimizer = Adam().build(self.parameters)
            self.step = 0

        def turn(self) -> float:
            """Take a turn; returns the seconds per step."""
            started = time.perf_counter()
            for _ in range(options.steps):
                self.seed(key(0, 0, self.step))
                self.optimizer.set_lr(5e-4 * (1 + math.cos(math.pi * self.step / total_steps)))
                loss, _ = self.network.training_step((x, y))
                loss.backward()
                clip_by_global_norm(self.parameters, clip_norm)
                self.optimizer.step()
                self.optimizer.clear_grad(set_to_zero=False)
                self.step += 1
            return (time.perf_counter() - started) / options.steps

    class TakeTurns(Callback):
        """Runs the bare loops between two turns of the engine, and times all."""

        def __init__(self) -> None:
            self.bare_loop = BareLoop()
            self.device_only_loop = BareLoop(seed=paddle.seed)
            self.engine: list[float] = []
            self.bare: list[float] = []
            self.again: list[float] = []
            self.device_only: list[float] = []

        def on_train_epoch_start(self, run):
            self.started = time.perf_counter()

        def on_train_batch_end(self, run):
            if run.progress.step % options.steps == 0:
                self.engine.append((time.perf_counter() - self.started) / options.steps)
                self.bare.append(self.bare_loop.turn())
                self.again.append(self.bare_loop.turn())
                self.device_only.append(self.device_only_loop.turn())
                self.started = time.perf_counter()

    engine: list[float] = []
    bare: list[float] = []
    again: list[float] = []
    device_only: list[float] = []
    for _ in range(options.rounds):
        turns = TakeTurns()
        with tempfile.TemporaryDirectory() as run_dir:
            schedules = [
                CosineWarmup(warmup_epochs=0.1),
                MarginSchedule(start_epoch=0.2, fix_epoch=0.8),
            ]
            Engine(
                run_dir=Path(run_dir),
                max_epochs=1,
                clip_norm=clip_norm,
                log_every=100,
                callbacks=[*default_callbacks(), *schedules, turns],
            ).fit(Network(), Data())
        engine += turns.engine[warm_up:]
        bare += turns.bare[warm_up:]
        again += turns.again[warm_up:]
        device_only += turns.device_only[warm_up:]
    noise = statistics.median(abs(b - a) for a, b in zip(bare, again, strict=True))
    overhead = statistics.median(e - b for e, b in zip(engine, bare, strict=True))
    host = statistics.median(b - d for b, d in zip(again, device_only, strict=True))
    print(
        f"{len(bare)} interleaved pairs of {options.steps} steps, all default callbacks and both "
        "schedules"
    )
    print(f"bare loop: {statistics.median(bare) * 1e6:.0f} us per step")
    print(f"bare loop against itself (noise floor): {noise * 1e6:.0f} us between two turns")
    print(f"of it, reseeding random and numpy.random: {host * 1e6:.0f} us")
    print(f"engine: {statistics.median(engine) * 1e6:.0f} us per step")
    print(f"overhead: {overhead * 1e6:.0f} us")


if __name__ == "__main__":
    main()
