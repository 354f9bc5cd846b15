"""The progress of training for people: a line per log point, and on a terminal a bar below it."""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping
from typing import Any

from tqdm import tqdm

from vprtrain.engine import Callback, Run, ValidationRun

log = logging.getLogger(__name__)


class EtaLogger(Callback):
    """Shows loss, accuracy without margin, learning rate, margin, throughput, data wait, data
    counts and the time left."""

    def __init__(self) -> None:
        self._bar: tqdm[Any] | None = None
        self._validation_bar: tqdm[Any] | None = None

    def on_fit_start(self, run: Run) -> None:
        log.info(
            "training: %d steps (%d per epoch), callbacks in order: %s",
            run.total_steps,
            run.steps_per_epoch,
            ", ".join(run.callbacks.names),
        )
        if _shows_bars(run):
            self._bar = tqdm(
                total=run.total_steps,
                initial=run.progress.step,
                unit="step",
                dynamic_ncols=True,
                smoothing=0.05,
            )

    def on_train_batch_end(self, run: Run) -> None:
        if self._bar is not None:
            self._bar.update()

    def on_log(self, run: Run) -> None:
        step, total = run.progress.step, run.total_steps
        log.info("epoch %d step %d/%d: %s", run.progress.epoch + 1, step, total, self.summary(run))

    def on_validation_start(self, run: ValidationRun) -> None:
        if _shows_bars(run):
            self._validation_bar = tqdm(
                total=run.validation_data.validation_steps,
                desc="validation",
                unit="batch",
                leave=False,
                dynamic_ncols=True,
            )

    def on_validation_batch_end(self, run: ValidationRun) -> None:
        if self._validation_bar is not None:
            self._validation_bar.update()

    def on_validation_end(self, run: ValidationRun, metrics: Mapping[str, float] | None) -> None:
        if self._validation_bar is not None:
            self._validation_bar.close()
            self._validation_bar = None
        if metrics is None:
            log.info("validation at step %d: ended without metrics", run.progress.step)
        else:
            values = " ".join(f"{name} {value:.5g}" for name, value in metrics.items())
            log.info("validation at step %d: %s", run.progress.step, values)

    def on_fit_end(self, run: Run) -> None:
        for bar in (self._validation_bar, self._bar):
            if bar is not None:
                bar.close()
        self._bar = self._validation_bar = None

    @staticmethod
    def summary(run: Run) -> str:
        """The newest log point in one line."""
        watch, module = run.stopwatch, run.module
        parts = [f"{name} {value:.4g}" for name, value in run.scalars.items()]
        parts.append(f"lr {run.learning_rate:.3g}")
        parts += [f"{name} {module.scheduled_value(name):.3f}" for name in module.scheduled]
        parts.append(
            f"{run.examples_per_second:.1f} {run.data.unit}/s, "
            f"data wait {watch.data_wait_share:.1%}"
        )
        parts += [f"{count} {name}" for name, count in run.data.counts().items()]
        if (eta := run.live.eta_seconds) is not None:
            parts.append(f"ETA {tqdm.format_interval(eta)}")
        return ", ".join(parts)


def _shows_bars(run: ValidationRun) -> bool:
    return sys.stderr.isatty() and run.ranks.is_first
