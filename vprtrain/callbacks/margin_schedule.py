"""A schedule for the margin of a margin softmax loss."""

from __future__ import annotations

import math
from typing import Any, Literal

from vprtrain.engine import Callback, Run
from vprtrain.errors import UsageError, require_number

_NEARLY_ALL = math.log(1e-3 / (1 + 1e-6))


class MarginSchedule(Callback):
    """Raises the margin from ``initial`` to ``final`` between two epochs, as WeSpeaker and
    3D-Speaker do.

    With ``r = (step - start) / (fix - start)``, the update after ``step`` completed steps uses::

        step < start:   initial
        exponential:    initial + (final - initial) * (1 - exp(r * ln(1e-3 / (1 + 1e-6))))
        linear:         initial + (final - initial) * r
        step >= fix:    final

    Args:
        initial: the margin before ``start_epoch``.
        final: the margin from ``fix_epoch`` on.
        start_epoch: completed epochs when the margin starts to grow; may be a fraction.
        fix_epoch: completed epochs when the margin reaches ``final``.
        growth: the shape of the growth in between.

    Raises:
        UsageError: the epochs or ``growth`` are invalid, or (when ``fit`` starts) the module has no
            margin.
    """

    role = "the margin"

    def __init__(
        self,
        *,
        initial: float = 0.0,
        final: float = 0.2,
        start_epoch: float = 20.0,
        fix_epoch: float = 40.0,
        growth: Literal["exponential", "linear"] = "exponential",
    ) -> None:
        require_number("MarginSchedule's initial", initial)
        require_number("MarginSchedule's final", final)
        require_number("MarginSchedule's fix_epoch", fix_epoch)
        if not 0 <= start_epoch <= fix_epoch:
            raise UsageError(
                f"MarginSchedule's start_epoch is {start_epoch} and its fix_epoch {fix_epoch}: "
                "expected 0 <= start_epoch <= fix_epoch"
            )
        if growth not in ("exponential", "linear"):
            raise UsageError(
                f"MarginSchedule's growth is {growth!r}: expected 'exponential' or 'linear'"
            )
        self._initial = initial
        self._final = final
        self._start_epoch = start_epoch
        self._fix_epoch = fix_epoch
        self._growth = growth
        self._start_step = 0
        self._fix_step = 0

    def on_fit_start(self, run: Run) -> None:
        if "margin" not in run.module.scheduled:
            raise UsageError(
                f"MarginSchedule has no margin to set: {type(run.module).__name__} or its loss has "
                "none; remove MarginSchedule from the callbacks or choose a loss with a margin"
            )
        self._start_step = run.steps_after(self._start_epoch)
        self._fix_step = run.steps_after(self._fix_epoch)
        # The margin of the latest step, in case a commit comes before the next step.
        run.module.set_scheduled("margin", self.value(max(0, run.progress.step - 1)))

    def on_train_batch_start(self, run: Run) -> None:
        run.module.set_scheduled("margin", self.value(run.progress.step))

    def value(self, step: int) -> float:
        """The margin of the update after ``step`` completed steps."""
        if step >= self._fix_step:
            return self._final
        if step < self._start_step:
            return self._initial
        share = (step - self._start_step) / (self._fix_step - self._start_step)
        if self._growth == "exponential":
            share = 1 - math.exp(share * _NEARLY_ALL)
        return self._initial + (self._final - self._initial) * share

    def fingerprint(self) -> dict[str, Any]:
        return {
            "initial": self._initial,
            "final": self._final,
            "start_epoch": self._start_epoch,
            "fix_epoch": self._fix_epoch,
            "growth": self._growth,
        }
