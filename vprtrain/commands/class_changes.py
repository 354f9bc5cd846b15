"""Which class each option has chosen, and which values are dropped with a class that is replaced.

jsonargparse hands the values of the old class, its defaults included, on to the new one where the
names are the same. An ``embedding_dim`` of one network is then silently that of another.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from typing import Any, NamedTuple

from vprtrain.commands.option_names import class_parser, option_types
from vprtrain.errors import UsageError, shown

log = logging.getLogger(__name__)


class _Change(NamedTuple):
    place: str
    old: type
    new: type
    values: dict[str, Any]


class ChosenClasses:
    """The class of each option, and the arguments that were given for it, as they are found."""

    def __init__(self) -> None:
        self._classes: dict[str, type] = {}
        self._given: dict[str, dict[str, Any]] = {}
        self._changes: list[_Change] = []
        self._required: list[tuple[_Change, str]] = []

    def get(self, place: str) -> type | None:
        """The class that an option has chosen last, ``None`` if it is not known."""
        return self._classes.get(place)

    def choose(self, place: str, cls: type | None) -> None:
        """An option has chosen a class; ``None`` means one that is not known."""
        old = self._classes.get(place)
        if cls is old is not None:
            return
        values = self._forget(place)
        if cls is None:
            return
        self._classes[place] = cls
        if old is not None:
            self._changes.append(_Change(place, old, cls, values))

    def give(self, place: str, name: str, value: object) -> None:
        """An argument of the class was given."""
        self._given.setdefault(place, {})[name] = value

    def pop_options(self) -> Iterator[str]:
        """Options that reset the arguments of classes that were replaced since the last call.

        What was given for the old class and is dropped is logged, in one line for each class.
        """
        changes, self._changes = self._changes, []
        for change in changes:
            if self._classes.get(change.place) is not change.new:
                continue
            given = self._given.get(change.place, {})
            dropped = {name: each for name, each in change.values.items() if name not in given}
            if dropped:
                log.info(
                    "%s is %s now; dropped of %s: %s",
                    change.place,
                    change.new.__name__,
                    change.old.__name__,
                    ", ".join(f"{name}={_text(value)}" for name, value in dropped.items()),
                )
            yield from self._resets(change, {*given})

    def require_given(self) -> None:
        """Refuse a class without an argument that it requires and that only its predecessor had.

        Raises:
            UsageError: an argument is missing.
        """
        for change, name in self._required:
            is_chosen = self._classes.get(change.place) is change.new
            if is_chosen and name not in self._given.get(change.place, {}):
                raise UsageError(
                    f"{change.new.__name__} needs --{change.place}.init_args.{name}: the value of "
                    f"{change.old.__name__} was dropped"
                )

    def _resets(self, change: _Change, given: set[str]) -> Iterator[str]:
        """Options for the arguments that both classes have, unless they were given again."""
        parser, old = class_parser(change.new), class_parser(change.old)
        defaults, old_defaults = parser.get_defaults(), old.get_defaults()
        common = option_types(parser).keys() & option_types(old).keys() - given
        for name in sorted(common):
            if name not in change.values and defaults.get(name) == old_defaults.get(name):
                continue
            if any(action.dest == name and action.required for action in parser._actions):
                self._required.append((change, name))
            else:
                default = _text(defaults.get(name))
                yield f"--{change.place}.init_args.{name}={default}"

    def _forget(self, place: str) -> dict[str, Any]:
        """Forget a class and the classes in its arguments; the arguments that were given."""
        self._classes.pop(place, None)
        for each in [*self._classes, *self._given]:
            if each.startswith(f"{place}.init_args."):
                self._classes.pop(each, None)
                self._given.pop(each, None)
        return self._given.pop(place, {})


def _text(value: object) -> str:
    """A value as an option on the command line has it."""
    if isinstance(value, str):
        return value
    try:
        return json.dumps(value)
    except (TypeError, ValueError):
        return shown(value)
