"""A module and data without audio, for the tests of the engine."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import paddle

from vprtrain.engine import DataModule, Module


class ToyModule(Module):
    """A small regression with dropout and batch norm, validated by its mean squared error."""

    metric_names = ("error", "bias")
    scheduled = ("margin",)

    def __init__(self, *, width: int = 16) -> None:
        super().__init__()
        self.margin = 0.0
        self.layers = paddle.nn.Sequential(
            paddle.nn.Linear(8, width),
            paddle.nn.BatchNorm1D(width),
            paddle.nn.ReLU(),
            paddle.nn.Dropout(0.3),
            paddle.nn.Linear(width, 1),
        )
        self.residuals: list[np.ndarray] = []

    def training_step(self, batch):
        x, y = (paddle.to_tensor(array) for array in batch)
        loss = paddle.nn.functional.mse_loss(self.layers(x), y) + 0.0 * self.margin
        return loss, {"accuracy": paddle.exp(-loss.detach())} if self.at_log_point else {}

    def on_validation_start(self) -> None:
        self.residuals = []

    def validation_step(self, batch) -> None:
        x, y = batch
        self.residuals.append(self.layers(paddle.to_tensor(x)).numpy() - y)

    def on_validation_end(self) -> dict[str, float]:
        residual = np.concatenate(self.residuals).astype(np.float64)
        return {"error": float((residual**2).mean()), "bias": float(residual.mean())}

    def state_keys(self):
        return {"margin": self.margin}

    def fingerprint(self):
        return {"width": self.layers[0].weight.shape[1]}


class ToyData(DataModule):
    """Noisy linear data. The order of an epoch is a function of the epoch's number."""

    def __init__(self, *, batches: int = 6, batch_size: int = 4, seed: int = 0) -> None:
        self.batches, self._batch_size, self.seed = batches, batch_size, seed
        rng = np.random.default_rng(seed)
        self.x = rng.standard_normal((batches * batch_size, 8)).astype("float32")
        self.y = self.x.sum(1, keepdims=True) + 0.1 * rng.standard_normal((len(self.x), 1)).astype(
            "float32"
        )

    @property
    def steps_per_epoch(self) -> int:
        return self.batches

    def train_batches(self, epoch: int, start: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        order = np.random.default_rng([self.seed, epoch]).permutation(len(self.x))
        for batch in range(start, self.batches):
            chosen = order[batch * self._batch_size : (batch + 1) * self._batch_size]
            yield self.x[chosen], self.y[chosen]

    def validation_batches(self):
        return iter([(self.x[:8], self.y[:8]), (self.x[8:16], self.y[8:16])])

    def fingerprint(self):
        return {"batches": self.batches, "batch_size": self._batch_size, "seed": self.seed}
