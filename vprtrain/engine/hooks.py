"""The table of hooks: for each event, the callbacks' methods to call."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any

from vprtrain.engine.callback import EVENTS, Callback
from vprtrain.errors import UsageError, VprTrainError

log = logging.getLogger(__name__)


class Hooks:
    """For each event the bound methods that override it, in the order in which they are called.

    Raises:
        UsageError: two callbacks have the same role.
    """

    def __init__(self, callbacks: Sequence[Callback]) -> None:
        _refuse_shared_roles(callbacks)
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
        """The methods to call for an event. The loop looks these up once, before its first step."""
        return self._table[event]

    def call(self, event: str, *arguments: Any) -> None:
        """Call them in order. An exception skips the rest."""
        for method in self._table[event]:
            method(*arguments)

    def unwind(self, event: str, *arguments: Any) -> Exception | None:
        """Call all of them in reverse order, even if some raise.

        Returns:
            The first exception, if there was one. All exceptions are logged.
        """
        first: Exception | None = None
        for method in reversed(self._table[event]):
            try:
                method(*arguments)
            except Exception as error:  # an exception in clean-up must not hide why the run ended
                log.error(
                    "%s failed while the run was ending: %s",
                    method.__qualname__,
                    error,
                    exc_info=not isinstance(error, VprTrainError),
                )
                first = first or error
        return first


def _refuse_shared_roles(callbacks: Sequence[Callback]) -> None:
    by_role: dict[str, Callback] = {}
    for callback in callbacks:
        if callback.role in by_role:
            other = by_role[callback.role]
            raise UsageError(
                f"{type(other).__name__} and {type(callback).__name__} are both callbacks for "
                f"{callback.role}: keep one of them"
            )
        if callback.role:
            by_role[callback.role] = callback
