"""Ends a run whose loss, gradient or weights are no longer numbers, before that reaches a
checkpoint."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from vprtrain.checkpoint.snapshot import Snapshot
from vprtrain.engine import Callback, Engine
from vprtrain.errors import RunError


class NanGuard(Callback):
    """Looks at the mean loss and the gradient's norm at each log point, and at all that is saved at
    each commit.

    Between log points nothing is fetched from the device: a non-finite loss stays visible in the
    mean, a non-finite gradient in the weights. With float16 a non-finite gradient is no fault, as
    its update is skipped.
    """

    def on_log(self, engine: Engine) -> None:
        self._check_scalars(engine)

    def on_validation_end(self, engine: Engine, metrics: Mapping[str, float] | None) -> None:
        for name, value in (metrics or {}).items():
            _require_finite(f"the validation's {name}", value, engine)

    def on_commit(self, engine: Engine, snapshot: Snapshot) -> None:
        self._check_scalars(engine)
        for file, arrays in snapshot.arrays.items():
            for name, array in arrays.items():
                if np.issubdtype(array.dtype, np.floating) and not np.isfinite(array).all():
                    _require_finite(f"{name} of {file}", math.nan, engine)

    @staticmethod
    def _check_scalars(engine: Engine) -> None:
        watched = ("loss",) if engine.stepper.precision.skips_updates else ("loss", "grad_norm")
        for name in watched:
            _require_finite(f"the {name}", engine.scalars.get(name, 0.0), engine)


def _require_finite(what: str, value: float, engine: Engine) -> None:
    if not math.isfinite(value):
        raise RunError(
            f"{what} is {value} at step {engine.progress.step} (or up to {engine.log_every} steps before): "
            "nothing was saved since it was finite. Lower the learning rate, set clip_norm, or check the data; "
            "the same command goes on from the last checkpoint"
        )
