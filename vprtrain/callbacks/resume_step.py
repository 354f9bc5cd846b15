"""Goes on at the very batch a checkpoint was taken at."""

from __future__ import annotations

import logging

from vprtrain.engine import Callback, Engine, Progress

log = logging.getLogger(__name__)


class ResumeStep(Callback):
    """Applies the opened checkpoint's position before the first fetch.

    Weights, optimizer and callback states are back by then; the order of the data, augmentation and
    the device's randomness are functions of the position. So the run goes on as if it had never
    stopped.
    """

    place = -1

    def on_fit_start(self, engine: Engine) -> None:
        if engine.opened is None:
            return
        state = engine.opened.state
        engine.progress = Progress(
            epoch=state.last_epoch,
            batch_in_epoch=state.batch_in_epoch,
            step=state.step,
            validation_pending=state.validation_pending,
        )
        log.info(
            "resuming from %s at step %d of %d (epoch %d, batch %d%s)",
            engine.opened.folder,
            state.step,
            engine.total_steps,
            state.last_epoch + 1,
            state.batch_in_epoch,
            ", validation first" if state.validation_pending else "",
        )
