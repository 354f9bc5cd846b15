"""Callbacks: everything that other trainers build into their loop."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from vprtrain.checkpoint.snapshot import Snapshot
from vprtrain.engine.run import Run, ValidationRun
from vprtrain.engine.stateful import Stateful


class Callback(Stateful):
    """The engine calls these methods at named moments. A hook that is not overridden costs nothing.

    The order of one step is::

        fetch -> on_train_batch_start -> forward and backward -> unscale, clip
              -> on_before_optimizer_step -> update -> counters advance -> on_train_batch_end
              -> [log point: on_log]
              -> [validation due: on_validation_start, on_validation_batch_end ...,
                  on_validation_end(metrics)]
              -> [epoch done: on_train_epoch_end]
              -> [several ranks, every ``agree_every`` steps: agree on requests]
              -> [commit requested: on_commit(snapshot)]
              -> [stop requested: leave]

    The run is the state of the current ``fit``. A callback steers it only through
    ``run.request_stop``, ``run.request_validation`` and ``run.request_commit``. ``on_exception``
    and ``on_fit_end`` always run, in reverse order. With several ranks every rank calls every hook
    except ``on_commit``, and only rank 0 writes: ``run.run_dir`` is ``None`` on the other ranks.
    """

    place: ClassVar[int] = 0
    """Callbacks run in the order of the list, but ResumeStep (-1) before and Checkpoint (1) after
    all others."""

    role: ClassVar[str] = ""
    """What this callback alone does in a run, for example ``"the learning rate"``. Two callbacks
    with the same role are refused."""

    def on_fit_start(self, run: Run) -> None:
        """Module, data, optimizer and, on a resume, ``run.opened`` are ready. No batch has been
        fetched yet."""

    def on_train_epoch_start(self, run: Run) -> None:
        """Before the first fetch of an epoch, or of the rest of an epoch after a resume."""

    def on_train_batch_start(self, run: Run) -> None:
        """The batches of a step are fetched. Schedules set the learning rate and the margin
        here."""

    def on_before_optimizer_step(self, run: Run) -> None:
        """Gradients are unscaled and clipped; the weights are not updated yet."""

    def on_train_batch_end(self, run: Run) -> None:
        """The step is complete and counted."""

    def on_log(self, run: Run) -> None:
        """Every ``log_every`` steps, and after the first: ``run.scalars`` was just fetched from the
        device."""

    def on_validation_start(self, run: ValidationRun) -> None:
        """Before the first validation batch; the module is still in training mode.

        Within a fit, the argument of the three validation hooks is the fit's :class:`Run`.
        ``Engine.validate`` alone calls them with a plain :class:`ValidationRun`.
        """

    def on_validation_batch_end(self, run: ValidationRun) -> None:
        """One validation batch is done."""

    def on_validation_end(self, run: ValidationRun, metrics: Mapping[str, float] | None) -> None:
        """The metrics, which are already in ``run.metrics``; ``None`` if the validation was cut
        short."""

    def on_train_epoch_end(self, run: Run) -> None:
        """All steps of epoch ``run.progress.epoch`` are done. The progress moves to the next epoch
        afterwards."""

    def on_commit(self, run: Run, snapshot: Snapshot) -> None:
        """Every counter is final. Add keys or arrays to the snapshot that belong in the checkpoint.

        With several ranks only rank 0 calls this hook, because only rank 0 writes.
        """

    def on_exception(self, run: Run, error: BaseException) -> None:
        """``fit`` is about to end with this exception."""

    def on_fit_end(self, run: Run) -> None:
        """``fit`` is about to end, with or without an exception."""


EVENTS = tuple(name for name in vars(Callback) if name.startswith("on_"))
