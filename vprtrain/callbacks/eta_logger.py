"""The progress of training for a person: a line per interval, and on a terminal a bar below the
lines."""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping
from typing import Any

from tqdm import tqdm

from vprtrain.engine import Callback, Engine

log = logging.getLogger(__name__)


class EtaLogger(Callback):
    """Shows loss, margin-free accuracy, learning rate, margin, throughput, data wait, data counts
    and the time left."""

    def __init__(self) -> None:
        self._bar: tqdm[Any] | None = None
        self._validation_bar: tqdm[Any] | None = None

    def on_fit_start(self, engine: Engine) -> None:
        log.info(
            "training: %d steps (%d an epoch), callbacks in order: %s",
            engine.total_steps,
            engine.steps_per_epoch,
            ", ".join(engine.hooks.names()),
        )
        if _shows_bars(engine):
            self._bar = tqdm(
                total=engine.total_steps,
                initial=engine.progress.step,
                unit="step",
                dynamic_ncols=True,
                smoothing=0.05,
            )

    def on_train_batch_end(self, engine: Engine) -> None:
        if self._bar is not None:
            self._bar.update()

    def on_log(self, engine: Engine) -> None:
        step, total = engine.progress.step, engine.total_steps
        log.info(
            "epoch %d step %d/%d: %s", engine.progress.epoch + 1, step, total, self.summary(engine)
        )

    def on_validation_start(self, engine: Engine) -> None:
        if _shows_bars(engine):
            self._validation_bar = tqdm(
                total=engine.validation_data.validation_steps,
                desc="validation",
                unit="batch",
                leave=False,
                dynamic_ncols=True,
            )

    def on_validation_batch_end(self, engine: Engine) -> None:
        if self._validation_bar is not None:
            self._validation_bar.update()

    def on_validation_end(self, engine: Engine, metrics: Mapping[str, float] | None) -> None:
        if self._validation_bar is not None:
            self._validation_bar.close()
            self._validation_bar = None
        if metrics is None:
            log.info("validation at step %d: ended without metrics", engine.progress.step)
        else:
            values = " ".join(f"{name} {value:.5g}" for name, value in metrics.items())
            log.info("validation at step %d: %s", engine.progress.step, values)

    def on_fit_end(self, engine: Engine) -> None:
        for bar in (self._validation_bar, self._bar):
            if bar is not None:
                bar.close()
        self._bar = self._validation_bar = None

    @staticmethod
    def summary(engine: Engine) -> str:
        """The newest log point in one line."""
        watch, module = engine.stopwatch, engine.module
        parts = [f"{name} {value:.4g}" for name, value in engine.scalars.items()]
        parts.append(f"lr {engine.learning_rate:.3g}")
        parts += [f"{name} {module.scheduled_value(name):.3f}" for name in module.scheduled]
        parts.append(
            f"{engine.examples_per_second:.1f} {engine.data.unit}/s, data wait {watch.data_wait_share:.1%}"
        )
        parts += [f"{count} {name}" for name, count in engine.data.counts().items()]
        if (eta := engine.live.eta_seconds) is not None:
            parts.append(f"ETA {tqdm.format_interval(eta)}")
        return ", ".join(parts)


def _shows_bars(engine: Engine) -> bool:
    return sys.stderr.isatty() and engine.ranks.is_first
