"""Turns signals and flags into an orderly stop: finish the current step, commit, and leave."""

from __future__ import annotations

import logging
import os
import signal
import threading
from contextlib import ExitStack, suppress
from types import FrameType

from vprtrain.callbacks.checkpoint import LAUNCHER_PATIENCE
from vprtrain.engine import Callback, Run
from vprtrain.runtime import handling_stop_signals

log = logging.getLogger(__name__)


class GracefulStop(Callback):
    """Stops training on SIGTERM or SIGINT, or when another thread sets a flag.

    Repeated SIGTERMs have no further effect (Paddle's launcher sends three). A second SIGINT aborts
    with ``KeyboardInterrupt``. Signals are handled only while ``fit`` runs, and only if it runs in
    the main thread.
    """

    def __init__(self) -> None:
        self._run: Run | None = None
        self._stop_train = False
        self._interrupts = 0
        self._warned = False
        self._handling = ExitStack()

    @property
    def stop_train(self) -> bool:
        """Set it to True, from any thread, to commit and stop after the current step. False again
        when ``fit`` ends."""
        return self._stop_train

    @stop_train.setter
    def stop_train(self, value: bool) -> None:
        self._stop_train = value
        if value and self._run is not None:
            self._run.request_stop("stop_train")

    @property
    def stop_eval(self) -> bool:
        """Set it to True, from any thread, to end the current validation without metrics. Training
        continues."""
        return self._run is not None and self._run.requests.end_validation

    @stop_eval.setter
    def stop_eval(self, value: bool) -> None:
        if value and self._run is not None:
            self._run.request_end_of_validation()

    def on_fit_start(self, run: Run) -> None:
        self._run, self._interrupts, self._warned = run, 0, False
        if self._stop_train:
            run.request_stop("stop_train")
        if threading.current_thread() is threading.main_thread():
            self._handling.enter_context(handling_stop_signals(self._on_signal))

    def on_log(self, run: Run) -> None:
        """Warn once if several ranks agree too rarely to stop before Paddle's launcher kills
        them."""
        if run.ranks.size == 1 or not run.ranks.is_first or self._warned:
            return
        seconds = run.settings.agree_every / run.stopwatch.steps_per_second
        if seconds > LAUNCHER_PATIENCE / 2:
            self._warned = True
            log.warning(
                "the ranks agree on a stop every %d steps, which take %.0f s: Paddle's launcher "
                "kills them %.0f s after asking them to stop; lower engine.agree_every",
                run.settings.agree_every,
                seconds,
                LAUNCHER_PATIENCE,
            )

    def on_fit_end(self, run: Run) -> None:
        self._handling.close()
        self._run, self._stop_train = None, False

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        name = signal.Signals(number).name
        if number == signal.SIGINT:
            self._interrupts += 1
            if self._interrupts > 1:
                raise KeyboardInterrupt
        assert self._run is not None
        is_first = self._run.requests.stop_reason is None
        try:
            # Before the message: a second signal may interrupt this handler, and the first counts.
            self._run.request_stop(name)  # raises if the loop waits for data
        finally:
            if is_first:
                hint = " (a second SIGINT aborts without saving)" if number == signal.SIGINT else ""
                # os.write, because this handler may have interrupted a write of print or logging.
                message = f"{name}: stopping after the current step, then saving{hint}\n"
                with suppress(OSError):  # Ctrl-C also ends a `tee` that reads from a pipe
                    os.write(2, message.encode())
