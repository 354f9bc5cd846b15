"""The values of ``validate_every`` and ``commit_every``."""

from __future__ import annotations

from dataclasses import dataclass, replace

from vprtrain.errors import UsageError


@dataclass(frozen=True, kw_only=True)
class Interval:
    """A number of epochs, steps or minutes. At most one of them is set; none means never."""

    epochs: int = 0
    steps: int = 0
    minutes: float = 0.0

    @classmethod
    def parse(
        cls, text: str, *, option: str, units: tuple[str, ...] = ("epochs", "steps", "minutes")
    ) -> Interval:
        """Read ``"1 epoch"``, ``"500 steps"``, ``"10 minutes"`` or ``"never"``.

        Raises:
            UsageError: the text has another form, or the number is not positive.
        """
        if text == "never":
            return cls()
        try:
            count, unit = text.split()
            unit = unit if unit.endswith("s") else unit + "s"
            number = float(count) if unit == "minutes" else int(count)
            if unit not in units or not number > 0:
                raise ValueError
        except ValueError:
            examples = ", ".join(f"'10 {unit}'" for unit in units)
            raise UsageError(f"{option} is {text!r}: expected {examples} or 'never'") from None
        return replace(cls(), **{unit: number})  # type: ignore[arg-type]  # which of the fields is known at run time only

    def __str__(self) -> str:
        lengths = {"epochs": self.epochs, "steps": self.steps, "minutes": self.minutes}
        return next((f"{number} {unit}" for unit, number in lengths.items() if number), "never")

    @property
    def never(self) -> bool:
        """Whether nothing is ever due."""
        return self == Interval()

    def times_in(self, steps: int, *, steps_per_epoch: int) -> int:
        """About how many intervals end within so many steps; 0 for an interval in minutes."""
        length = self.steps or self.epochs * steps_per_epoch
        return steps // length if length else 0

    def after_step(self, step: int) -> bool:
        """Whether an interval ends with this step, counted from 1."""
        return self.steps > 0 and step > 0 and step % self.steps == 0

    def after_epoch(self, epoch: int) -> bool:
        """Whether an interval ends with this epoch, counted from 1."""
        return self.epochs > 0 and epoch % self.epochs == 0
