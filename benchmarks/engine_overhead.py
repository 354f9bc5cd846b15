"""What the Engine and its default callbacks cost a step, over a bare Paddle loop that does the same numeric work.

Both train the same tiny network on the same batches, with clipping, a learning rate set in every step and the
device reseeded in every step. Rounds of the two alternate, and the bare loop is also paired with itself: its
difference is the noise that any figure here carries.

    python benchmarks/engine_overhead.py [--pairs 30] [--steps 500]

The last line reads ``overhead: N us``: the median over the pairs of (engine - bare), in microseconds a step.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path

from vprtrain import runtime


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--pairs", type=int, default=30, help="interleaved pairs of bare loop and engine")
    parser.add_argument("--steps", type=int, default=500, help="steps in each round")
    options = parser.parse_args()
    runtime.prepare()

    import paddle

    from vprtrain.callbacks import CosineWarmup, MarginSchedule, default_callbacks
    from vprtrain.engine import Adam, Callback, DataModule, Engine, Module
    from vprtrain.engine.seeding import key

    steps, clip_norm, log_every = options.steps, 5.0, 100
    x, y = paddle.randn([16, 32]), paddle.randn([16, 4])

    class Network(Module):
        scheduled = ("margin",)

        def __init__(self) -> None:
            super().__init__()
            self.margin = 0.0
            self.layers = paddle.nn.Sequential(
                paddle.nn.Linear(32, 64), paddle.nn.ReLU(), paddle.nn.Dropout(0.1), paddle.nn.Linear(64, 4)
            )

        def training_step(self, batch):
            return paddle.nn.functional.mse_loss(self.layers(batch[0]), batch[1]), {}

    class Data(DataModule):
        steps_per_epoch = steps

        def train_batches(self, epoch, start):
            return ((x, y) for _ in range(start, steps))

        def fingerprint(self):
            return {}

    class Clock(Callback):
        """Times the loop alone, without opening and closing files around it."""

        def on_train_epoch_start(self, engine):
            self.started = time.perf_counter()

        def on_train_epoch_end(self, engine):
            self.seconds = time.perf_counter() - self.started

    def engine_round() -> float:
        clock = Clock()
        with tempfile.TemporaryDirectory() as run_dir:
            schedules = [CosineWarmup(warmup_epochs=0.1), MarginSchedule(start_epoch=0.2, fix_epoch=0.8)]
            Engine(
                run_dir=Path(run_dir),
                max_epochs=1,
                clip_norm=clip_norm,
                log_every=log_every,
                callbacks=[*default_callbacks(), *schedules, clock],
            ).fit(Network(), Data())
        return clock.seconds / steps

    def bare_round() -> float:
        network = Network()
        network.train()
        parameters = network.parameters()
        optimizer = Adam().build(parameters)
        started = time.perf_counter()
        for step in range(steps):
            paddle.seed(key(0, 0, step))
            optimizer.set_lr(1e-3 * (1 - step / steps))
            loss, _ = network.training_step((x, y))
            loss.backward()
            paddle.nn.utils.clip_grad_norm_(parameters, clip_norm)
            optimizer.step()
            optimizer.clear_grad()
        return (time.perf_counter() - started) / steps

    bare_round(), engine_round()  # warm up
    bare, again, engine = [], [], []
    for _ in range(options.pairs):
        bare.append(bare_round())
        engine.append(engine_round())
        again.append(bare_round())
    overhead = statistics.median(b - a for a, b in zip(bare, engine, strict=True))
    noise = statistics.median(abs(b - a) for a, b in zip(bare, again, strict=True))
    print(f"{options.pairs} interleaved pairs of {steps} steps, all default callbacks and both schedules")
    print(f"bare loop: {statistics.median(bare) * 1e6:.0f} us a step")
    print(f"bare loop against itself (noise floor): {noise * 1e6:.0f} us")
    print(f"engine: {statistics.median(engine) * 1e6:.0f} us a step")
    print(f"overhead: {overhead * 1e6:.0f} us")


if __name__ == "__main__":
    main()
