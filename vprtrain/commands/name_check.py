"""Unknown options and classes, found from signatures before jsonargparse parses a command line.

jsonargparse refuses them too, but in prose of several lines. Values are left to it.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from pkgutil import resolve_name
from typing import Any, get_args, get_origin

import yaml
from jsonargparse import ArgumentParser, Namespace

from vprtrain.commands.class_changes import ChosenClasses
from vprtrain.commands.option_names import (
    class_parser,
    closest,
    hint_text,
    known_classes,
    option_names,
    option_types,
    takes_class,
)
from vprtrain.errors import UsageError
from vprtrain.spec import is_module_name

_CLASS_KEYS = ("class_path", "init_args")


def check_names(parser: ArgumentParser, arguments: Sequence[str]) -> list[str]:
    """Check every name on the command line and in the files that ``--config`` names.

    Returns:
        The arguments. Where an option replaces a class, options follow that reset what was given
        for the old class; see :mod:`vprtrain.commands.class_changes`.

    Raises:
        UsageError: an option or a class does not exist; the message names the closest one.
    """
    check = _NameCheck(parser)
    checked = list(check.check_arguments(arguments))
    check.chosen.require_given()
    return checked


class _NameCheck:
    """One pass over the arguments, in order."""

    def __init__(self, parser: ArgumentParser) -> None:
        self._parser = parser
        self.chosen = ChosenClasses()
        for action in parser._actions:
            self._choose_default(action.dest, action.default)

    def check_arguments(self, arguments: Sequence[str]) -> Iterator[str]:
        resets: list[str] = []
        for place, argument in enumerate(arguments):
            if argument == "--":
                yield from (*resets, *arguments[place:])
                return
            option, equals, value = argument.partition("=")
            if not option.startswith("--"):
                yield argument
                yield from resets  # after the value of the option before
                resets = []
                continue
            yield from (*resets, argument)
            following = arguments[place + 1] if place + 1 < len(arguments) else ""
            self._check_option(option, value if equals else following)
            resets = list(self.chosen.pop_options())
        yield from resets

    def _check_option(self, option: str, text: str) -> None:
        option = option.removesuffix("+")
        known = (each for each in self._parser._actions if option in each.option_strings)
        action = next(known, None)
        if option == "--config":
            self._check_file(text)
        elif action is None:
            self._check_dotted(self._parser, option[2:], "", text)
        elif takes_class(hint := vars(action).get("_typehint")):
            self._check_class_value(action.dest, hint, _parsed(text))

    def _check_dotted(self, scope: ArgumentParser, name: str, prefix: str, text: str) -> None:
        """Check ``--model.init_args.channels``, which may leave ``init_args`` out, in its class."""
        types = option_types(scope)
        option = next(
            (each for each in types if name.startswith(f"{each}.") and takes_class(types[each])),
            None,
        )
        if option is None:
            if name not in types:
                raise UsageError(_unknown_option(prefix, name, scope))
            return
        place, rest = prefix + option, name[len(option) + 1 :]
        first, _, argument = rest.partition(".")
        cls = self.chosen.get(place)
        if rest in ("help", "class_path") or cls is None:
            return
        if argument and first not in option_types(class_parser(cls)) and first != "init_args":
            _check_class_key(place, first)
        inner = argument if first == "init_args" else rest
        self.chosen.give(place, inner.partition(".")[0], text)
        self._check_dotted(class_parser(cls), inner, f"{place}.init_args.", text)

    def _check_file(self, path: str) -> None:
        """Check a YAML file; one that cannot be read is left to jsonargparse.

        Raises:
            UsageError: the file is not UTF-8, for which jsonargparse has no message.
        """
        try:
            content = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
        except UnicodeDecodeError as error:
            raise UsageError(f"{path} is not UTF-8 text ({error}): expected a YAML file") from error
        except (OSError, ValueError, yaml.YAMLError):
            return
        if isinstance(content, dict):
            self._check_mapping(self._parser, content, "")

    def _check_mapping(self, scope: ArgumentParser, values: Mapping[Any, Any], prefix: str) -> None:
        types = option_types(scope)
        for name, value in _leaves(values, types):
            if name not in types:
                raise UsageError(_unknown_option(prefix, name, scope))
            if takes_class(types[name]):
                self._check_class_value(prefix + name, types[name], value)

    def _check_class_value(self, place: str, hint: Any, value: Any) -> None:
        """Check a class name, a mapping of class_path and init_args, or a list of these."""
        if any(get_origin(part) is list for part in (hint, *get_args(hint))):
            self.chosen.choose(place, None)  # an item does not replace the one before
        if isinstance(value, list):
            for item in value:
                self._check_class_value(place, hint, item)
        elif isinstance(value, str) and value:
            self._choose(place, hint, value)
        elif isinstance(value, dict):
            self._check_class_mapping(place, hint, value)

    def _check_class_mapping(self, place: str, hint: Any, value: Mapping[Any, Any]) -> None:
        """Check class_path and init_args, or init_args alone without that key."""
        if isinstance(value.get("class_path"), str):
            self._choose(place, hint, value["class_path"])
        cls = self.chosen.get(place)
        scope = None if cls is None else class_parser(cls)
        short = not set(_CLASS_KEYS) & value.keys()
        for key in map(str, value):
            is_argument = scope is not None and key in option_types(scope)
            if not short or (not is_argument and closest(key, _CLASS_KEYS)):
                _check_class_key(place, key)
        init_args = value if short else value.get("init_args")
        if isinstance(init_args, dict) and scope is not None:
            for name, argument in init_args.items():
                self.chosen.give(place, str(name), argument)
            self._check_mapping(scope, init_args, f"{place}.init_args.")

    def _choose(self, place: str, hint: Any, name: str) -> None:
        """Remember the class; a value that names none is left to jsonargparse."""
        known = {cls.__name__: cls for cls in known_classes(hint)}
        if "." not in name:
            if name not in known:
                raise UsageError(_unknown_class(place, name, known))
            self.chosen.choose(place, known[name])
            return
        try:
            found = resolve_name(name)
        except (ImportError, AttributeError, ValueError) as error:
            if not Path(name).is_file():
                reason = f" ({error}{_import_hint(name)})"
                raise UsageError(_unknown_class(place, name, known, reason)) from error
            found = None
        self.chosen.choose(place, found if inspect.isclass(found) else None)

    def _choose_default(self, place: str, default: Any) -> None:
        if isinstance(default, dict | Namespace) and "class_path" in default:
            found = resolve_name(default["class_path"])
            if inspect.isclass(found):
                self.chosen.choose(place, found)
                for name, value in dict(default.get("init_args") or {}).items():
                    self.chosen.give(place, name, value)


def _leaves(values: Mapping[Any, Any], types: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """(dotted name, value) of every option in nested groups, and of what no option is called."""
    for key, value in values.items():
        name = str(key)
        inner = {
            each[len(name) + 1 :]: types[each] for each in types if each.startswith(f"{name}.")
        }
        is_group = bool(inner) and not takes_class(types.get(name))
        if isinstance(value, dict) and value and (is_group or name not in types):
            yield from ((f"{name}.{rest}", found) for rest, found in _leaves(value, inner))
        elif not is_group:  # CommandParser refuses a group that is not a mapping
            yield name, value


def _parsed(text: str) -> Any:
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:
        return None


def _import_hint(class_path: str) -> str:
    """What to add if the class may be in a module of the working folder."""
    module = class_path.rpartition(".")[0]
    first = Path(module.partition(".")[0])
    is_here = is_module_name(module) and (first.is_dir() or first.with_suffix(".py").is_file())
    return f"; for a module of the working folder add --import {module}" if is_here else ""


def _check_class_key(place: str, key: str) -> None:
    if key not in (*_CLASS_KEYS, "dict_kwargs"):
        raise UsageError(f"option '--{place}' takes class_path and init_args only, found '{key}'")


def _unknown_option(prefix: str, name: str, scope: ArgumentParser) -> str:
    known = [prefix + option for option in option_names(scope)]
    nearest = closest(prefix + name, known)
    return f"unknown option '--{prefix}{name}'" + hint_text(nearest and f"--{nearest}")


def _unknown_class(option: str, name: str, known: Mapping[str, type], reason: str = "") -> str:
    names = sorted(known)
    hint = hint_text(closest(name.rpartition(".")[2], names)) or f": known are {', '.join(names)}"
    return f"unknown class '{name}' for '{option}'{reason}{hint}"
