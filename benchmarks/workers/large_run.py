"""A run of linear layers of a million parameters each, with Adam and the default callbacks, in the
folder and with the number of layers that are given. It prints a line for each step."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from itertools import repeat

from vprtrain import runtime

runtime.prepare(threads=1)
runtime.keep_freed_memory()  # as the command fit does

import numpy as np  # noqa: E402 - the environment is set before
import paddle  # noqa: E402

from vprtrain import DataModule, Engine, Module  # noqa: E402
from vprtrain.callbacks import default_callbacks  # noqa: E402

_SIDE = 1000


class Large(Module):
    def __init__(self, layers: int) -> None:
        super().__init__()
        self.layers = paddle.nn.LayerList(
            paddle.nn.Linear(_SIDE, _SIDE, bias_attr=False) for _ in range(layers)
        )

    def training_step(self, batch: object) -> tuple[paddle.Tensor, dict[str, paddle.Tensor]]:
        print("step", flush=True)
        return paddle.add_n([layer.weight.sum() for layer in self.layers]), {}

    def fingerprint(self) -> dict[str, object]:
        return {"layers": len(self.layers)}


class Endless(DataModule):
    steps_per_epoch = 1_000_000

    def train_batches(self, epoch: int, start: int) -> Iterator[np.ndarray]:
        return repeat(np.zeros((4, 2), "float32"))

    def fingerprint(self) -> dict[str, object]:
        return {}


if __name__ == "__main__":
    engine = Engine(run_dir=sys.argv[1], max_epochs=1, callbacks=default_callbacks())
    engine.fit(Large(int(sys.argv[2])), Endless())
