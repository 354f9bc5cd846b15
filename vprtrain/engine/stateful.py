"""The callbacks' part of a checkpoint: states to go on with, fingerprints to compare."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol


class Stateful(Protocol):
    """What a checkpoint needs of a callback. Callback documents the three methods."""

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state: Mapping[str, Any]) -> None: ...

    def fingerprint(self) -> dict[str, Any]: ...


class CallbackStates:
    """The states and fingerprints of a run's callbacks, each under the callback's name.

    The name is the class name; from the second callback of one class on, a number is appended.
    """

    def __init__(self, callbacks: Sequence[Stateful]) -> None:
        self._by_name: dict[str, Stateful] = {}
        counts: dict[str, int] = {}
        for callback in callbacks:
            name = type(callback).__name__
            counts[name] = counts.get(name, 0) + 1
            self._by_name[name if counts[name] == 1 else f"{name}#{counts[name]}"] = callback

    @property
    def names(self) -> tuple[str, ...]:
        """All names, in the order in which the callbacks are called."""
        return tuple(self._by_name)

    def state(self) -> dict[str, Any]:
        """The states of all callbacks that have one."""
        states = {name: callback.state_dict() for name, callback in self._by_name.items()}
        return {name: state for name, state in states.items() if state}

    def load(self, states: Mapping[str, Any]) -> None:
        """Give each callback its saved state. A state without a callback is ignored."""
        for name, callback in self._by_name.items():
            if name in states:
                callback.load_state_dict(states[name])

    def fingerprint(self) -> dict[str, Any]:
        """The fingerprints of all callbacks that can change the weights or the best record."""
        prints = {name: callback.fingerprint() for name, callback in self._by_name.items()}
        return {name: value for name, value in prints.items() if value}
