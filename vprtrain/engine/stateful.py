"""The callbacks' part of a checkpoint: states to go on with, fingerprints to compare."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from vprtrain.errors import UsageError


def require_json(value: Any, source: str) -> Any:
    """The value, if it is JSON.

    Args:
        source: the user's method that returned it.

    Raises:
        UsageError: it is not; NumPy's numbers and Tensors are not.
    """
    try:
        json.dumps(value)
    except (TypeError, ValueError) as error:
        raise UsageError(
            f"{source} returned what is not JSON ({error}): expected plain numbers, texts, lists "
            "and dicts"
        ) from error
    return value


class Stateful:
    """What a checkpoint needs of a callback."""

    def state_dict(self) -> dict[str, Any]:
        """JSON values that a resumed run needs. Observers do not override this."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take back what :meth:`state_dict` returned."""

    def fingerprint(self) -> dict[str, Any]:
        """JSON values that can change the weights or the best record; empty for observers."""
        return {}


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
        """The states of all callbacks that can have one. It may be empty for the moment."""
        return {
            name: require_json(callback.state_dict(), f"{name}.state_dict()")
            for name, callback in self._by_name.items()
            if type(callback).state_dict is not Stateful.state_dict
        }

    def differences(self, saved: Mapping[str, Any]) -> list[str]:
        """The callbacks with a state that only the saved states or only this run have, in words.

        A callback without a saved state is new, unless its own state is empty: checkpoints of 0.1
        hold no empty states.
        """
        own = self.state()
        gone = sorted(name for name, state in saved.items() if state and name not in own)
        added = sorted(name for name, state in own.items() if state and name not in saved)
        return [f"the callback {name} was there, is not" for name in gone] + [
            f"the callback {name} was not there, is now" for name in added
        ]

    def load(self, states: Mapping[str, Any]) -> None:
        """Give each callback its saved state. A state without a callback is ignored."""
        for name, callback in self._by_name.items():
            if name in states:
                callback.load_state_dict(states[name])

    def fingerprint(self) -> dict[str, Any]:
        """The fingerprints of all callbacks that can change the weights or the best record."""
        prints = {
            name: require_json(callback.fingerprint(), f"{name}.fingerprint()")
            for name, callback in self._by_name.items()
        }
        return {name: value for name, value in prints.items() if value}
