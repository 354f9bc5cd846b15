"""Resumes at exactly the batch at which a checkpoint was taken."""

from __future__ import annotations

import logging

from vprtrain.engine import Callback, Run
from vprtrain.files import path_from_here

log = logging.getLogger(__name__)


class ResumeStep(Callback):
    """Restores the opened checkpoint's position before the first fetch.

    Weights, optimizer and callback states are already loaded. The order of the data, augmentation
    and the device's randomness are functions of the position. So the run continues as if it had
    never stopped.
    """

    role = "the position of a resume"
    place = -1

    def on_fit_start(self, run: Run) -> None:
        if run.opened is None:
            return
        run.restore_position()
        progress = run.progress
        log.info(
            "resuming from %s at step %d of %d (epochs done: %d, batches of the next: %d%s)",
            path_from_here(run.opened.folder),
            progress.step,
            run.total_steps,
            progress.epoch,
            progress.batch_in_epoch,
            ", validation first" if progress.validation_pending else "",
        )
