"""TensorBoard event files beside the checkpoints."""

from __future__ import annotations

from collections.abc import Mapping

from tensorboardX import SummaryWriter

from vprtrain.engine import Callback, Engine


class TensorBoard(Callback):
    """Writes what is logged of training (``train/``) and of validation (``validation/``) into the run directory."""

    def __init__(self) -> None:
        self._writer: SummaryWriter | None = None

    def on_fit_start(self, engine: Engine) -> None:
        if engine.run_dir is not None:
            # What a killed run logged beyond its last checkpoint is logged again: TensorBoard hides it from there on.
            step = engine.progress.step
            self._writer = SummaryWriter(str(engine.run_dir), purge_step=step + 1, filename_suffix=f".{step}")

    def on_train_batch_end(self, engine: Engine) -> None:
        if self._writer is None or not engine.at_log_point:
            return
        module, step = engine.module, engine.progress.step
        values = dict(engine.scalars) | {name: module.scheduled_value(name) for name in module.scheduled}
        values |= {
            "learning_rate": engine.learning_rate,
            f"{engine.data.unit}_per_second": engine.stopwatch.examples_per_second,
            "data_wait_share": engine.stopwatch.data_wait_share,
        }
        for name, value in values.items():
            self._writer.add_scalar(f"train/{name}", value, step)

    def on_validation_end(self, engine: Engine, metrics: Mapping[str, float] | None) -> None:
        if self._writer is not None and metrics is not None:
            for name, value in metrics.items():
                self._writer.add_scalar(f"validation/{name}", value, engine.progress.step)
            self._writer.flush()

    def on_fit_end(self, engine: Engine) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None
