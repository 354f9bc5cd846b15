"""Ends a run with a non-finite loss, gradient or weight before it reaches a checkpoint."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from vprtrain.checkpoint.snapshot import Snapshot
from vprtrain.engine import Callback, Run, ValidationRun
from vprtrain.errors import RunError


class NanGuard(Callback):
    """Checks the mean loss and the gradient's norm at each log point, and every saved array at each
    commit.

    Between log points nothing is fetched from the device: a non-finite loss stays visible in the
    mean loss, a non-finite gradient in the weights. With float16 a non-finite gradient is no error,
    because its update is skipped.

    Raises:
        RunError: from a hook, when a value is not finite.
    """

    def on_log(self, run: Run) -> None:
        self._check_scalars(run)

    def on_validation_end(self, run: ValidationRun, metrics: Mapping[str, float] | None) -> None:
        for name, value in (metrics or {}).items():
            _require_finite(f"the validation's {name}", value, run)

    def on_commit(self, run: Run, snapshot: Snapshot) -> None:
        self._check_scalars(run)
        for file, arrays in snapshot.arrays.items():
            for name, array in arrays.items():
                if np.issubdtype(array.dtype, np.floating) and not np.isfinite(array).all():
                    _require_finite(f"{name} of {file}", math.nan, run)

    @staticmethod
    def _check_scalars(run: Run) -> None:
        watched = ("loss",) if run.stepper.precision.skips_updates else ("loss", "grad_norm")
        for name in watched:
            _require_finite(f"the {name}", run.scalars.get(name, 0.0), run)


def _require_finite(what: str, value: float, run: ValidationRun) -> None:
    if not math.isfinite(value):
        raise RunError(
            f"{what} is {value} at step {run.progress.step} (or up to {run.settings.log_every} "
            "steps before): the last checkpoint is older and finite. Lower the learning rate, set "
            "clip_norm, or check the data; the same command resumes from the last checkpoint"
        )
