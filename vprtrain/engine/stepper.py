"""One optimizer step: forward and backward of its micro-batches, clipping, update. All of it on the
device."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import paddle

from vprtrain.engine.clipping import clip_by_global_norm
from vprtrain.engine.combining import Combining
from vprtrain.engine.killpoints import passing
from vprtrain.engine.module import Module, Scalars
from vprtrain.layers.rows import RowTable, rows_updated

_FULL_PRECISION: AbstractContextManager[None] = nullcontext()
_NO_ROWS: AbstractContextManager[list[Any]] = nullcontext([])


class Precision:
    """Full precision: the calls of every precision, here without effect. ``MixedPrecision`` hands
    over another."""

    skips_updates = False
    """Whether an update with a non-finite gradient is skipped, which then is no fault."""

    def context(self) -> AbstractContextManager[Any]:
        """Around the forward pass."""
        return _FULL_PRECISION

    def scale(self, loss: paddle.Tensor) -> paddle.Tensor:
        """What backward starts from."""
        return loss

    def unscale(self, optimizer: paddle.optimizer.Optimizer) -> None:
        """Give the gradients their true size, before clipping."""

    def update(self, optimizer: paddle.optimizer.Optimizer) -> None:
        """Step the optimizer."""
        optimizer.step()


class Stepper:
    """Does the numeric work of a step. ``precision`` may be replaced before the first one."""

    def __init__(
        self,
        *,
        module: Module,
        trained: Sequence[paddle.Tensor],
        optimizer: paddle.optimizer.Optimizer,
        clip_norm: float | None,
        seed_of: SeedOf,
        combining: Combining,
    ) -> None:
        self.module = module
        self.optimizer = optimizer
        self.precision = Precision()
        self._clip_norm = clip_norm
        self._seed_of = seed_of
        self._trained = trained
        self._combining = combining if combining.ranks.size > 1 else None
        self._tables = [
            layer for layer in module.sublayers(include_self=True) if isinstance(layer, RowTable)
        ]

    def run(
        self, step: int, batches: Sequence[Any], before_update: Callable[[], None] | None
    ) -> tuple[paddle.Tensor, Scalars]:
        """Take one step with the mean gradient of the batches.

        Randomness on the device (dropout, for one) is reseeded from the step's number, so that a
        resumed run draws what the uninterrupted one drew.

        Returns:
            The mean loss and the scalars to log (those of the last micro-batch, and the gradient's
            norm), on the device; of all ranks.
        """
        precision, combining, key = self.precision, self._combining, self._seed_of(step)
        paddle.seed(key)
        self.module.on_step_start(batches, key)
        total = None
        for batch in batches:
            with precision.context():
                loss, scalars = self.module.training_step(batch)
            if len(batches) > 1:
                loss = loss / len(batches)
            if combining is not None:
                loss, scalars = _weighted(loss, scalars, combining.share(batch))
            precision.scale(loss).backward()
            total = loss.detach() if total is None else total + loss.detach()
        passing("forward")
        with rows_updated(self.optimizer, self._tables) if self._tables else _NO_ROWS as rows:
            if combining is not None:
                combining(total, scalars, rows)
            precision.unscale(self.optimizer)
            if self._clip_norm is not None:
                clipped = [*self._trained, *rows] if rows else self._trained
                scalars["grad_norm"] = clip_by_global_norm(clipped, self._clip_norm)
            if before_update is not None:
                before_update()
            precision.update(self.optimizer)
        self.optimizer.clear_grad()
        passing("update")
        return total, scalars


def _weighted(loss: paddle.Tensor, scalars: Scalars, share: float) -> tuple[paddle.Tensor, Scalars]:
    return loss * share, {
        name: scalar.detach().astype("float32") * share for name, scalar in scalars.items()
    }


SeedOf = Callable[[int], int]
"""The device's seed of a step."""
