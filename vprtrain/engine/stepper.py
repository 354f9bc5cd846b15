"""One optimizer step, all of it on the device: forward and backward of its micro-batches, clipping,
update. The loop (engine/loop.py) calls ``Stepper.run``, which calls ``Module.training_step``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import paddle

from vprtrain.engine import killpoints
from vprtrain.engine.clipping import clip_by_global_norm
from vprtrain.engine.combining import Combining
from vprtrain.engine.module import Module, Scalars
from vprtrain.engine.scalars import as_tensor, require_loss, require_scalars
from vprtrain.engine.seeding import seed_all
from vprtrain.errors import UsageError
from vprtrain.layers.rows import RowTable, rows_updated

TrainingStep = Callable[[Any], tuple[paddle.Tensor, Scalars]]
StepSeed = Callable[[int], int]
"""The device's seed as a function of the step."""


class Precision:
    """Full precision, and the interface of the others: ``MixedPrecision`` sets another one."""

    skips_updates = False
    """Whether updates with a non-finite gradient are skipped: such a gradient is then no error."""

    def forward(self, step: TrainingStep, batch: Any) -> tuple[paddle.Tensor, Scalars]:
        """The forward pass: what the module's ``training_step`` gives for a batch."""
        return step(batch)

    def scale(self, loss: paddle.Tensor) -> paddle.Tensor:
        """The loss that the backward pass starts from."""
        return loss

    def unscale(self, optimizer: paddle.optimizer.Optimizer) -> None:
        """Undo :meth:`scale` in the gradients, before clipping."""

    def update(self, optimizer: paddle.optimizer.Optimizer) -> None:
        """Update the weights."""
        optimizer.step()


class Stepper:
    """Does the numeric work of a step. ``precision`` may be replaced before the first step.

    Args:
        trained: the parameters that the optimizer updates.
        clip_norm: the largest global norm of the gradient; ``None`` for no clipping.
        combining: combines the gradients of several ranks; ``None`` for one process.
    """

    def __init__(
        self,
        *,
        module: Module,
        trained: Sequence[paddle.Tensor],
        optimizer: paddle.optimizer.Optimizer,
        clip_norm: float | None,
        seed_of: StepSeed,
        combining: Combining | None,
    ) -> None:
        self.module = module
        self.optimizer = optimizer
        self.precision = Precision()
        self._clip_norm = clip_norm
        self._seed_of = seed_of
        self._trained = trained
        self._combining = combining
        self._tables = [
            layer for layer in module.sublayers(include_self=True) if isinstance(layer, RowTable)
        ]
        self._checked = False

    def run(
        self, step: int, batches: Sequence[Any], before_update: Callable[[], None] | None
    ) -> tuple[paddle.Tensor, Scalars]:
        """Take one step with the mean gradient of the batches.

        The global generators of Paddle (for dropout, say), NumPy and Python are reseeded from the
        step's number, so that a resumed run draws what the uninterrupted run drew. A parameter that
        took no part in the step has no gradient afterwards and is not updated: neither momentum nor
        weight decay acts on it, as in PyTorch.

        Args:
            step: completed steps.
            before_update: called when the gradients are final.

        Returns:
            The mean loss and the scalars to log, on the device and combined over all ranks. The
            scalars are those of the last micro-batch, and ``grad_norm`` with clipping.

        Raises:
            UsageError: the loss or a scalar is not a number, or a gradient is sparse.
        """
        precision, combining, key = self.precision, self._combining, self._seed_of(step)
        seed_all(key)
        self.module.on_step_start(batches, key)
        total = None
        for batch in batches:
            loss, scalars = precision.forward(self.module.training_step, batch)
            # The types are looked at in the first step and at log points: it takes microseconds.
            if not self._checked or self.module.at_log_point:
                require_loss(loss, self.module)
                require_scalars(scalars, self.module)
            if len(batches) > 1:
                loss = loss / len(batches)
            if combining is not None:
                loss, scalars = _weighted(loss, scalars, combining.share(batch))
            precision.scale(loss).backward()
            total = loss.detach() if total is None else total + loss.detach()
        killpoints.reach("forward")
        if not self._checked:
            _refuse_sparse_gradients(self.module)
            self._checked = True
        if self._tables:
            with rows_updated(self.optimizer, self._tables) as rows:
                self._update(total, scalars, rows, before_update)
        else:
            self._update(total, scalars, [], before_update)
        # Zeros would be a gradient: momentum and weight decay would act on a parameter that the
        # next step does not use, but not after a resume, which starts without gradients.
        for parameter in self._trained:
            parameter.clear_gradient(False)  # set_to_zero, which Paddle ignores as a keyword
        killpoints.reach("update")
        return total, scalars

    def _update(
        self,
        total: paddle.Tensor,
        scalars: Scalars,
        rows: Sequence[paddle.Tensor],
        before_update: Callable[[], None] | None,
    ) -> None:
        """Combine the gradients of all ranks, clip them, and update the weights.

        Args:
            total: the loss; it and the scalars become those of all ranks.
            rows: the rows of tables that took part in the step, as trained parameters.
        """
        if self._combining is not None:
            self._combining(total, scalars, rows)
        self.precision.unscale(self.optimizer)
        if self._clip_norm is not None:
            clipped = [*self._trained, *rows] if rows else self._trained
            scalars["grad_norm"] = clip_by_global_norm(clipped, self._clip_norm)
        if before_update is not None:
            before_update()
        self.precision.update(self.optimizer)


def _weighted(loss: paddle.Tensor, scalars: Scalars, share: float) -> tuple[paddle.Tensor, Scalars]:
    """Loss and scalars times this rank's share of the batch."""
    return loss * share, {name: as_tensor(scalar) * share for name, scalar in scalars.items()}


def _refuse_sparse_gradients(module: Module) -> None:
    """Clipping, Adam's moments and the sum over ranks need dense gradients."""
    for name, parameter in module.named_parameters():
        if parameter.grad is not None and parameter.grad.is_selected_rows():
            raise UsageError(
                f"the gradient of {name} {list(parameter.shape)} is sparse: make the embedding "
                "with sparse=False"
            )
