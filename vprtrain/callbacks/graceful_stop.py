"""Turns signals and flags into an orderly end: the step under way, one commit, and out."""

from __future__ import annotations

import logging
import os
import signal
import threading
from contextlib import suppress
from types import FrameType
from typing import Any

from vprtrain.callbacks.checkpoint import LAUNCHER_PATIENCE
from vprtrain.engine import Callback, Engine

log = logging.getLogger(__name__)

SIGNALS = (signal.SIGTERM, signal.SIGINT)


class GracefulStop(Callback):
    """Stops training on SIGTERM or SIGINT, or when another thread sets a flag.

    Repeated SIGTERMs change nothing (Paddle's launcher sends three); a second SIGINT aborts with
    ``KeyboardInterrupt``. Signals are taken over only while ``fit`` runs, and only in the main
    thread.
    """

    def __init__(self) -> None:
        self._engine: Engine | None = None
        self._stop_train = False
        self._interrupts = 0
        self._told = False
        self._warned = False
        self._previous: dict[signal.Signals, Any] = {}

    @property
    def stop_train(self) -> bool:
        """Set it, from any thread, to commit and leave after the step under way."""
        return self._stop_train

    @stop_train.setter
    def stop_train(self, value: bool) -> None:
        self._stop_train = value
        if value and self._engine is not None:
            self._engine.request_stop("stop_train")

    @property
    def stop_eval(self) -> bool:
        """Set it, from any thread, to end the validation under way without metrics; training goes
        on."""
        return self._engine is not None and self._engine.requests.end_validation

    @stop_eval.setter
    def stop_eval(self, value: bool) -> None:
        if value and self._engine is not None:
            self._engine.request_end_of_validation()

    def on_fit_start(self, engine: Engine) -> None:
        self._engine, self._interrupts, self._told = engine, 0, False
        if self._stop_train:
            engine.request_stop("stop_train")
        if threading.current_thread() is threading.main_thread():
            self._previous = {number: signal.signal(number, self._on_signal) for number in SIGNALS}

    def on_log(self, engine: Engine) -> None:
        """Say so once where several ranks agree too seldom for Paddle's launcher to wait for their
        stop."""
        if engine.ranks.size == 1 or not engine.ranks.is_first or self._warned:
            return
        seconds = engine.agree_every / engine.stopwatch.steps_per_second
        if seconds > LAUNCHER_PATIENCE / 2:
            self._warned = True
            log.warning(
                "the ranks agree on a stop every %d steps, which take %.0f s: Paddle's launcher kills them %.0f s "
                "after asking them to stop; set engine.agree_every lower",
                engine.agree_every,
                seconds,
                LAUNCHER_PATIENCE,
            )

    def on_fit_end(self, engine: Engine) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        self._previous = {}
        self._engine = None

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        name = signal.Signals(number).name
        if number == signal.SIGINT:
            self._interrupts += 1
            if self._interrupts > 1:
                raise KeyboardInterrupt
        assert self._engine is not None
        if self._engine.requests.stop_reason is None and not self._told:
            self._told = True  # before the message: the next signal may interrupt right after it
            hint = " (once more aborts without saving)" if number == signal.SIGINT else ""
            # os.write: print and logging may be in the midst of a write that this handler
            # interrupted
            message = f"{name}: stopping after the step under way, then saving{hint}\n"
            with suppress(OSError):  # Ctrl-C ends the `tee` behind a pipe as well
                os.write(2, message.encode())
        self._engine.request_stop(name)
