"""A learning rate schedule: an exponential decay, multiplied by a linear warm-up."""

from __future__ import annotations

from vprtrain.engine import Callback, Run
from vprtrain.errors import UsageError, require_number


class ExponentialWarmup(Callback):
    """The learning rate decays exponentially from the peak to the minimum. Over the warm-up it is
    multiplied by a factor that rises linearly from 0 to 1.

    With ``w`` warm-up steps out of ``n`` steps, the update after ``step`` completed steps uses::

        min(1, step / w) * peak * (minimum / peak) ** (step / n)

    as WeSpeaker's ``ExponentialDecrease`` does with ``warm_from_zero``. The peak itself is never
    reached. WeSpeaker multiplies both rates of its configurations by batch size / 64; here the
    multiplied values are expected. The rate is a function of the step alone, so a resume cannot
    shift it.

    Args:
        peak: the rate that the decay starts from; ``None`` for the optimizer's learning rate.
        minimum: the rate at the end.
        warmup_epochs: the length of the warm-up; may be a fraction.

    Raises:
        UsageError: ``warmup_epochs`` is negative, ``minimum`` is not positive, or (when ``fit``
            starts) the peak is below the minimum.
    """

    role = "the learning rate"

    def __init__(
        self, *, peak: float | None = None, minimum: float = 2e-4, warmup_epochs: float = 6.0
    ) -> None:
        require_number("ExponentialWarmup's warmup_epochs", warmup_epochs, least=0)
        require_number("ExponentialWarmup's minimum", minimum, above=0)
        if peak is not None:
            require_number("ExponentialWarmup's peak", peak, above=0)
        self._peak = peak
        self._minimum = minimum
        self._warmup_epochs = warmup_epochs
        self._start = 0.0
        self._first_step = 0
        self._warmup_steps = 0
        self._total_steps = 0

    def on_fit_start(self, run: Run) -> None:
        self._start = run.settings.optimizer.learning_rate if self._peak is None else self._peak
        if self._start < self._minimum:
            raise UsageError(
                f"ExponentialWarmup's peak is {self._start} and its minimum {self._minimum}: "
                "expected a minimum not above the peak"
            )
        self._first_step = run.steps_after(0)
        self._total_steps = run.total_steps - self._first_step
        self._warmup_steps = run.steps_after(self._warmup_epochs) - self._first_step

    def on_train_batch_start(self, run: Run) -> None:
        run.learning_rate = self.value(run.progress.step)

    def value(self, step: int) -> float:
        """The learning rate of the update after ``step`` completed steps. Only during a fit."""
        step -= self._first_step
        rise = min(1.0, step / self._warmup_steps) if self._warmup_steps else 1.0
        decay: float = (self._minimum / self._start) ** (step / self._total_steps)
        return rise * self._start * decay

    def fingerprint(self) -> dict[str, float | None]:
        return {"peak": self._peak, "minimum": self._minimum, "warmup_epochs": self._warmup_epochs}
