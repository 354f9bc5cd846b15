"""The learning rate as a function of the step: an exponential decay, with a linear warm-up on
top."""

from __future__ import annotations

from vprtrain.engine import Callback, Engine
from vprtrain.errors import UsageError


class ExponentialWarmup(Callback):
    """Falls exponentially from the peak to the minimum; over the warm-up, also rises linearly from
    zero.

    With ``w`` warm-up steps of ``n`` steps in all, the update after ``step`` completed steps uses::

        min(1, step / w) * peak * (minimum / peak) ** (step / n)

    as WeSpeaker's ``ExponentialDecrease`` does with ``warm_from_zero``. The peak itself is never
    reached. WeSpeaker multiplies both rates of its configurations by a factor, batch size / 64;
    give them here multiplied. Nothing is accumulated, so a resume cannot shift it.

    Args:
        peak: the rate that the decay starts from; ``None`` for the optimizer's own.
        minimum: the rate at the end.
        warmup_epochs: the length of the warm-up, also a fraction.
    """

    def __init__(
        self, *, peak: float | None = None, minimum: float = 2e-4, warmup_epochs: float = 6.0
    ) -> None:
        if warmup_epochs < 0 or minimum <= 0:
            raise UsageError(
                f"ExponentialWarmup's warmup_epochs is {warmup_epochs} and its minimum {minimum}: expected 0 or more, "
                "and more than 0"
            )
        self._peak = peak
        self._minimum = minimum
        self._warmup_epochs = warmup_epochs
        self._start = 0.0
        self._warmup_steps = 0
        self._total_steps = 0

    def on_fit_start(self, engine: Engine) -> None:
        self._start = engine.optimizer_factory.learning_rate if self._peak is None else self._peak
        if self._start < self._minimum:
            raise UsageError(
                f"ExponentialWarmup falls from {self._start} to {self._minimum}: expected a lower minimum"
            )
        self._total_steps = engine.total_steps
        self._warmup_steps = round(self._warmup_epochs * engine.steps_per_epoch)

    def on_train_batch_start(self, engine: Engine) -> None:
        engine.learning_rate = self.value(engine.progress.step)

    def value(self, step: int) -> float:
        """The learning rate of the update that follows ``step`` completed ones, while a fit is
        under way."""
        rise = min(1.0, step / self._warmup_steps) if self._warmup_steps else 1.0
        return rise * self._start * (self._minimum / self._start) ** (step / self._total_steps)

    def fingerprint(self) -> dict[str, float | None]:
        return {"peak": self._peak, "minimum": self._minimum, "warmup_epochs": self._warmup_epochs}
