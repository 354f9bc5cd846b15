"""Stops a run that no longer improves."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from vprtrain.callbacks.monitor import Mode, Monitor
from vprtrain.engine import Callback, Run, ValidationRun
from vprtrain.errors import require_number, require_whole

log = logging.getLogger(__name__)

EARLY_STOPPING = "early_stopping"
"""The reason of the stop, in ``FitResult.stopped_by``"""


class EarlyStopping(Callback):
    """Stops after ``patience`` validations in a row without an improvement of the monitored metric.

    Args:
        monitor: the metric; ``None`` for the module's first one.
        mode: whether a lower (``min``) or a higher (``max``) value is better.
        patience: how many validations without an improvement end the run.
        min_delta: the metric must improve by more than this to count.

    Raises:
        UsageError: a number is out of range, or (when ``fit`` starts) the module has no such
            metric.
    """

    def __init__(
        self,
        *,
        monitor: str | None = None,
        mode: Mode = "min",
        patience: int = 5,
        min_delta: float = 0.0,
    ) -> None:
        require_whole("EarlyStopping's patience", patience, 1)
        require_number("EarlyStopping's min_delta", min_delta, least=0)
        self._monitor = Monitor("EarlyStopping", monitor, mode)
        self._metric: str | None = None
        self._patience = patience
        self._min_delta = min_delta
        self._best: float | None = None
        self._waited = 0

    def on_fit_start(self, run: Run) -> None:
        self._metric = self._monitor.metric(run.module.metric_names)
        if run.opened is None:
            self._best, self._waited = None, 0
        if not run.validates or run.settings.validate_every.never:
            log.warning("EarlyStopping never stops this run, because it has no validation")
        self._stop_if_over(run)  # a run that stopped early stays stopped

    def on_validation_end(self, run: ValidationRun, metrics: Mapping[str, float] | None) -> None:
        if metrics is None or self._metric is None:  # cut short, or outside a fit
            return
        value = metrics[self._metric]
        if self._monitor.is_better(value, self._best, by=self._min_delta):
            self._best, self._waited = value, 0
        else:
            self._waited += 1
        self._stop_if_over(run)

    def on_fit_end(self, run: Run) -> None:
        self._metric = None
        self._best, self._waited = None, 0

    def _stop_if_over(self, run: ValidationRun) -> None:
        if self._waited >= self._patience:
            run.request_stop(EARLY_STOPPING)

    def state_dict(self) -> dict[str, Any]:
        return {"best": self._best, "waited": self._waited}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._best, self._waited = state["best"], state["waited"]

    def fingerprint(self) -> dict[str, Any]:
        return {
            **self._monitor.fingerprint(),
            "patience": self._patience,
            "min_delta": self._min_delta,
        }
