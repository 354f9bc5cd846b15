"""Callbacks: everything that other trainers weld into their loop."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from vprtrain.checkpoint.snapshot import Snapshot
from vprtrain.errors import VprTrainError

if TYPE_CHECKING:
    from vprtrain.engine.engine import Engine

log = logging.getLogger(__name__)


class Callback:
    """Called by the engine at named moments; override what you need, the rest costs nothing.

    The order of one step is::

        fetch -> on_train_batch_start -> forward/backward -> unscale, clip ->
        on_before_optimizer_step -> update
              -> counters advance -> on_train_batch_end -> [log point: on_log]
              -> [validation due: on_validation_start .. on_validation_batch_end ..
              on_validation_end(metrics)] -> [epoch done: on_train_epoch_end] -> [several ranks,
              every ``agree_every`` steps: agree on requests] -> [commit requested:
              on_commit(snapshot)] -> [stop requested: leave]

    Control flow is steered through ``engine.request_stop``, ``engine.request_validation`` and
    ``engine.request_commit`` only. ``on_exception`` and ``on_fit_end`` always run, in reverse
    order. Of several ranks, all call all events but ``on_commit``, and the first alone writes:
    ``engine.run_dir`` is ``None`` on the others.
    """

    place: ClassVar[int] = 0
    """Callbacks run in the order of the list, but ResumeStep (-1) before and Checkpoint (1) after
    all others."""

    def on_fit_start(self, engine: Engine) -> None:
        """Module, data, optimizer and, on a resume, ``engine.opened`` are ready; nothing was
        fetched yet."""

    def on_train_epoch_start(self, engine: Engine) -> None:
        """Before the first fetch of an epoch, and again where a resume enters one in its midst."""

    def on_train_batch_start(self, engine: Engine) -> None:
        """A step's batches are there. Schedules set the learning rate and the margin here."""

    def on_before_optimizer_step(self, engine: Engine) -> None:
        """Gradients are unscaled and clipped; the weights are still those before the step."""

    def on_train_batch_end(self, engine: Engine) -> None:
        """The step is complete and counted."""

    def on_log(self, engine: Engine) -> None:
        """Every ``log_every`` steps, and after the first: ``engine.scalars`` has just come from the
        device."""

    def on_validation_start(self, engine: Engine) -> None:
        """Before the first validation batch; the module is still in training mode."""

    def on_validation_batch_end(self, engine: Engine) -> None:
        """One validation batch was taken in."""

    def on_validation_end(self, engine: Engine, metrics: Mapping[str, float] | None) -> None:
        """The metrics, already in ``engine.metrics``; ``None`` where the validation was cut
        short."""

    def on_train_epoch_end(self, engine: Engine) -> None:
        """All steps of ``engine.progress.epoch`` are done; the progress moves to the next epoch
        after this."""

    def on_commit(self, engine: Engine, snapshot: Snapshot) -> None:
        """Every counter is final. Add keys or arrays to the snapshot that belong in the checkpoint.

        Of several ranks only the first is called, as it alone writes.
        """

    def on_exception(self, engine: Engine, error: BaseException) -> None:
        """``fit`` is about to end with this exception."""

    def on_fit_end(self, engine: Engine) -> None:
        """``fit`` is about to end, in whatever way."""

    def state_dict(self) -> dict[str, Any]:
        """JSON values that a resumed run needs. Observers have none."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take back what :meth:`state_dict` gave."""

    def fingerprint(self) -> dict[str, Any]:
        """JSON values that can change the weights or the best record. Observers have none."""
        return {}


EVENTS = tuple(name for name in vars(Callback) if name.startswith("on_"))


class Hooks:
    """For each event the bound methods that override it, in the order in which they are called."""

    def __init__(self, callbacks: Sequence[Callback]) -> None:
        self.callbacks = tuple(sorted(callbacks, key=lambda callback: callback.place))
        self._table: dict[str, tuple[Callable[..., None], ...]] = {
            event: tuple(
                getattr(callback, event)
                for callback in self.callbacks
                if getattr(type(callback), event) is not getattr(Callback, event)
            )
            for event in EVENTS
        }

    def of(self, event: str) -> tuple[Callable[..., None], ...]:
        """The methods to call for an event. The loop binds these once, before its first step."""
        return self._table[event]

    def call(self, event: str, *arguments: Any) -> None:
        """Call them in order; the first exception ends it."""
        for method in self._table[event]:
            method(*arguments)

    def unwind(self, event: str, *arguments: Any) -> Exception | None:
        """Call all of them in reverse order, whatever each raises; the first exception is returned,
        all are logged."""
        first: Exception | None = None
        for method in reversed(self._table[event]):
            try:
                method(*arguments)
            except Exception as error:  # an exception in clean-up must not hide what ended the run
                says_enough = isinstance(error, VprTrainError)
                name = method.__qualname__
                log.error(
                    "%s failed while the run was ending: %s", name, error, exc_info=not says_enough
                )
                first = first or error
        return first

    def names(self) -> tuple[str, ...]:
        """A name for each callback, under which its state is saved: the class's, numbered from the
        second on."""
        names: list[str] = []
        for callback in self.callbacks:
            name = type(callback).__name__
            count = sum(existing.split("#")[0] == name for existing in names)
            names.append(f"{name}#{count + 1}" if count else name)
        return tuple(names)

    def state(self) -> dict[str, Any]:
        """The states of all callbacks that have one, by name."""
        states = {
            name: callback.state_dict()
            for name, callback in zip(self.names(), self.callbacks, strict=True)
        }
        return {name: state for name, state in states.items() if state}

    def fingerprint(self) -> dict[str, Any]:
        """The fingerprints of all callbacks that can change the weights, by name."""
        prints = {
            name: callback.fingerprint()
            for name, callback in zip(self.names(), self.callbacks, strict=True)
        }
        return {name: value for name, value in prints.items() if value}
