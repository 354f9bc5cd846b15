"""TensorBoard event files beside the checkpoints."""

from __future__ import annotations

from collections.abc import Mapping

from tensorboardX import SummaryWriter
from tensorboardX.proto.summary_pb2 import Summary

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

    def on_log(self, engine: Engine) -> None:
        if self._writer is None:
            return
        module, step = engine.module, engine.progress.step
        values = dict(engine.scalars) | {name: module.scheduled_value(name) for name in module.scheduled}
        values |= {
            "learning_rate": engine.learning_rate,
            f"{engine.data.unit}_per_second": engine.examples_per_second,
            "data_wait_share": engine.stopwatch.data_wait_share,
        }
        self._write("train", values, step)

    def on_validation_end(self, engine: Engine, metrics: Mapping[str, float] | None) -> None:
        if self._writer is not None and metrics is not None:
            self._write("validation", metrics, engine.progress.step)
            self._writer.flush()

    def on_fit_end(self, engine: Engine) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def _write(self, group: str, values: Mapping[str, float], step: int) -> None:
        """All values as one event: a call of ``add_scalar`` for each would take several times as long."""
        assert self._writer is not None
        scalars = [Summary.Value(tag=f"{group}/{name}", simple_value=value) for name, value in values.items()]
        self._writer.file_writer.add_summary(Summary(value=scalars), step)
