"""Automatic mixed precision: float32, bfloat16, or float16 with a scaled loss."""

from __future__ import annotations

import logging
from typing import Any, Literal

import numpy as np
import paddle

from vprtrain.checkpoint.arrays import Arrays
from vprtrain.checkpoint.snapshot import Snapshot
from vprtrain.checkpoint.state_file import SavedCheckpoint
from vprtrain.engine import Callback, Run
from vprtrain.engine.module import Scalars
from vprtrain.engine.stepper import Precision, TrainingStep

log = logging.getLogger(__name__)

SCALER_FILE = "scaler.pdparams"


class MixedPrecision(Callback):
    """Sets the precision of the forward pass. Weights, loss and optimizer stay in float32.

    ``fp32`` adds no call at all. On a CPU Paddle's mixed precision has no effect; a warning says
    so.

    Args:
        precision: ``fp16`` scales the loss and skips updates with a non-finite gradient. The state
            of its scaler is part of the checkpoint.
    """

    role = "the precision"

    def __init__(self, *, precision: Literal["fp32", "bf16", "fp16"] = "fp32") -> None:
        self._precision = precision
        self._scaler: paddle.amp.GradScaler | None = None

    def on_fit_start(self, run: Run) -> None:
        if self._precision == "fp32":
            return
        if paddle.get_device() == "cpu":
            log.warning(
                "precision %s has no effect on a CPU: Paddle computes in float32 there",
                self._precision,
            )
        if self._precision == "fp16":
            self._scaler = LossScaler()  # a new scaler first: it takes the saved state
            if run.opened is not None:
                _load_scaler(self._scaler, run.opened)
        run.stepper.precision = LowPrecision(
            dtype="float16" if self._precision == "fp16" else "bfloat16", scaler=self._scaler
        )

    def on_commit(self, run: Run, snapshot: Snapshot) -> None:
        if self._scaler is not None:
            snapshot.arrays[SCALER_FILE] = _scaler_arrays(self._scaler)

    def fingerprint(self) -> dict[str, str]:
        return {} if self._precision == "fp32" else {"precision": self._precision}


class LossScaler(paddle.amp.GradScaler):
    """Paddle's GradScaler without its failure at the first overflow.

    Paddle 3.3 prints the scale through ``float()`` of a one-element tensor, which is a
    ``TypeError`` since NumPy 2.4.
    """

    _scale: paddle.Tensor
    _decr_count: int

    def _update(self) -> None:
        if self._cache_found_inf and self._decr_count + 1 == self._decr_every_n_nan_or_inf:
            log.info(
                "a gradient overflowed: update skipped, loss scale %g is multiplied by %g",
                self._scale.item(),
                self._decr_ratio,
            )
            self._scale = self._scale * self._decr_ratio
            self._incr_count = self._decr_count = 0
        else:
            super()._update()


class LowPrecision(Precision):
    """Paddle's automatic casting at level O1, with a loss scaler if the dtype needs one."""

    def __init__(self, *, dtype: str, scaler: paddle.amp.GradScaler | None) -> None:
        self._dtype = dtype
        self._scaler = scaler
        self.skips_updates = scaler is not None

    def forward(self, step: TrainingStep, batch: Any) -> tuple[paddle.Tensor, Scalars]:
        with paddle.amp.auto_cast(dtype=self._dtype, level="O1"):
            return step(batch)

    def scale(self, loss: paddle.Tensor) -> paddle.Tensor:
        return loss if self._scaler is None else self._scaler.scale(loss)

    def unscale(self, optimizer: paddle.optimizer.Optimizer) -> None:
        if self._scaler is not None:
            self._scaler.unscale_(optimizer)

    def update(self, optimizer: paddle.optimizer.Optimizer) -> None:
        if self._scaler is None:
            optimizer.step()
        else:
            self._scaler.step(optimizer)
            self._scaler.update()


def _scaler_arrays(scaler: paddle.amp.GradScaler) -> Arrays:
    return {name: np.asarray(value) for name, value in scaler.state_dict().items()}


def _load_scaler(scaler: paddle.amp.GradScaler, saved: SavedCheckpoint) -> None:
    if not saved.has(SCALER_FILE) or not (arrays := saved.arrays(SCALER_FILE)):
        return  # saved in another precision, or on a CPU, where the scaler has no state
    scaler.load_state_dict(
        {name: value if name == "scale" else value.item() for name, value in arrays.items()}
    )
