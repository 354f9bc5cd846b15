"""``validate_every`` and ``commit_every``: how often, in the unit that was meant."""

from __future__ import annotations

from dataclasses import dataclass, replace

from vprtrain.errors import UsageError


@dataclass(frozen=True, kw_only=True)
class Interval:
    """A number of epochs, steps or minutes; exactly one of them is set, or none for never."""

    epochs: int = 0
    steps: int = 0
    minutes: float = 0.0

    @classmethod
    def parse(
        cls, text: str, *, option: str, units: tuple[str, ...] = ("epochs", "steps", "minutes")
    ) -> Interval:
        """Read ``"1 epoch"``, ``"500 steps"``, ``"10 minutes"`` or ``"never"``.

        Raises:
            UsageError: it is none of these, or not positive.
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
        return replace(cls(), **{unit: number})  # type: ignore[arg-type]

    def __str__(self) -> str:
        lengths = {"epochs": self.epochs, "steps": self.steps, "minutes": self.minutes}
        return next((f"{number} {unit}" for unit, number in lengths.items() if number), "never")

    @property
    def never(self) -> bool:
        """Whether it never ends."""
        return self == Interval()

    def times_in(self, steps: int, *, steps_per_epoch: int) -> int:
        """How often so many steps end it, about; 0 where minutes decide."""
        length = self.steps or self.epochs * steps_per_epoch
        return steps // length if length else 0

    def after_step(self, step: int) -> bool:
        """Whether it ends with this step, counted from 1."""
        return self.steps > 0 and step > 0 and step % self.steps == 0

    def after_epoch(self, epoch: int) -> bool:
        """Whether it ends with this epoch, counted from 1."""
        return self.epochs > 0 and epoch % self.epochs == 0
