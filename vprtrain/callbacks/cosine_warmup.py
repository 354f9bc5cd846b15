"""A learning rate schedule: a linear warm-up, then half a cosine."""

from __future__ import annotations

import math

from vprtrain.engine import Callback, Run
from vprtrain.errors import UsageError, require_number


class CosineWarmup(Callback):
    """The learning rate rises linearly from the minimum to the peak, then falls along a cosine back
    to the minimum.

    With ``w`` warm-up steps out of ``n`` steps, the update after ``step`` completed steps uses::

        step < w:   minimum + (peak - minimum) * step / w
        otherwise:  minimum + (peak - minimum) / 2 * (1 + cos(pi * (step - w) / (n - w)))

    as 3D-Speaker's ``WarmupCosineScheduler`` does. The rate is a function of the step alone, so a
    resume cannot shift it.

    Args:
        peak: the highest rate; ``None`` for the optimizer's learning rate.
        minimum: the rate at the start and at the end.
        warmup_epochs: the length of the warm-up; may be a fraction.

    Raises:
        UsageError: a value is negative, or (when ``fit`` starts) the warm-up is not shorter than
            the training.
    """

    role = "the learning rate"

    def __init__(
        self, *, peak: float | None = None, minimum: float = 1e-5, warmup_epochs: float = 5.0
    ) -> None:
        require_number("CosineWarmup's warmup_epochs", warmup_epochs, least=0)
        require_number("CosineWarmup's minimum", minimum, least=0)
        if peak is not None:
            require_number("CosineWarmup's peak", peak, least=0)
        self._peak = peak
        self._minimum = minimum
        self._warmup_epochs = warmup_epochs
        self._height = 0.0
        self._first_step = 0
        self._warmup_steps = 0
        self._total_steps = 0

    def on_fit_start(self, run: Run) -> None:
        peak = run.settings.optimizer.learning_rate if self._peak is None else self._peak
        self._height = peak - self._minimum
        self._first_step = run.steps_after(0)
        self._total_steps = run.total_steps - self._first_step
        self._warmup_steps = run.steps_after(self._warmup_epochs) - self._first_step
        if self._warmup_steps >= self._total_steps and not run.settings.fast_dev_run:
            raise UsageError(
                f"CosineWarmup's warm-up of {self._warmup_epochs} epochs "
                f"({self._warmup_steps} steps) is not shorter than the training "
                f"({self._total_steps} steps): train longer (max_steps, max_epochs), or lower "
                "warmup_epochs; --engine.fast_dev_run 20 only tries 20 steps"
            )

    def on_train_batch_start(self, run: Run) -> None:
        run.learning_rate = self.value(run.progress.step)

    def value(self, step: int) -> float:
        """The learning rate of the update after ``step`` completed steps. Only during a fit."""
        step -= self._first_step
        if step < self._warmup_steps:
            return self._minimum + self._height * step / self._warmup_steps
        done = (step - self._warmup_steps) / (self._total_steps - self._warmup_steps)
        return self._minimum + self._height / 2 * (1 + math.cos(math.pi * done))

    def fingerprint(self) -> dict[str, float | None]:
        return {"peak": self._peak, "minimum": self._minimum, "warmup_epochs": self._warmup_epochs}
