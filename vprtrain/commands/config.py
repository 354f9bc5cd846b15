"""Typed configuration from YAML files and the command line (jsonargparse), with errors of one
line."""

from __future__ import annotations

import difflib
import inspect
import re
from collections.abc import Iterable, Iterator
from importlib import import_module
from logging import Logger
from types import NoneType
from typing import Any, NoReturn, get_args

from jsonargparse import ArgumentParser, Namespace

from vprtrain.errors import UsageError


class CommandParser(ArgumentParser):
    """An argument parser for one command: exact option names only, and a mistake raises
    :class:`UsageError`.

    The error is one line that names the option or class that was probably meant, also inside the
    ``init_args`` of a class that was chosen by ``class_path``.
    """

    def __init__(
        self,
        *,
        prog: str | None = None,
        description: str | None = None,
        exit_on_error: bool = True,
        logger: Logger | bool = False,
        parser_mode: str = "yaml",
    ) -> None:
        super().__init__(
            prog=prog,
            description=description,
            exit_on_error=exit_on_error,
            logger=logger,
            parser_mode=parser_mode,
            allow_abbrev=False,
        )
        # a command's own parser, not one that jsonargparse makes for a class's init_args
        if exit_on_error:
            self.add_argument(
                "--config", action="config", help="YAML file; later options override it"
            )

    # The other arguments are jsonargparse's own, for the parsers that it makes for a class's
    # init_args.
    def parse_args(self, args: Any = None, *more: Any, **options: Any) -> Namespace:  # type: ignore[override]
        config = super().parse_args(args, *more, **options)
        self._refuse_what_jsonargparse_lets_pass(config)
        return config

    def _refuse_what_jsonargparse_lets_pass(self, config: Namespace) -> None:
        """A single value in the place of a group of options; null where the type has no place for
        it."""
        for group in self.groups or {}:
            if group in config and not isinstance(config[group], Namespace):
                self.error(
                    f'Parser key "{group}": expected the options of this group, got '
                    f"{config[group]!r}"
                )
        try:
            _refuse_nulls(self, config)
            for place, class_path, init_args in _chosen_classes(config):
                _refuse_nulls(_parser_of(class_path), init_args, f"{place}.init_args.")
        except TypeError as error:
            self.error(str(error), error)

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        if not self.exit_on_error:  # the outer parser's turn: it knows the whole name of the option
            super().error(message, ex)
        raise UsageError(f"{_explain(self, message)} (--help lists all options)") from ex


def dump(parser: CommandParser, config: Namespace) -> str:
    """The whole configuration, defaults included, as YAML from which ``--config`` reads the same
    again."""
    return parser.dump(config, skip_unset=False)


def instantiate(parser: CommandParser, config: Namespace) -> Namespace:
    """The configuration with an object in the place of every class.

    A constructor's ValueError becomes a :class:`UsageError`.
    """
    try:
        return parser.instantiate(config)
    except ValueError as error:
        raise UsageError(f"the configuration cannot be used: {_plain(str(error))}") from error


def closest(name: str, candidates: Iterable[str]) -> str | None:
    """The candidate that ``name`` is most likely a misspelling of, or ``None`` where none is near.

    Names may be dotted. Their last parts must resemble each other, then the whole names decide:
    ``lr`` finds ``optimizer.init_args.lr``.
    """

    def likeness(candidate: str) -> tuple[float, float]:
        last, whole = (
            difflib.SequenceMatcher(None, a.lower(), b.lower()).ratio()
            for a, b in ((name.rpartition(".")[2], candidate.rpartition(".")[2]), (name, candidate))
        )
        return (last + whole if last >= 0.6 else 0.0), whole

    best = max(candidates, key=likeness, default=None)
    return best if best is not None and likeness(best)[0] > 0 else None


# What jsonargparse says of a mistake, outermost first: the option, the class chosen there, its
# option ..
_CLUE = re.compile(
    r"""Parser\ key\ "(?P<key>[^"]+)":?
    | Problem\ with\ given\ class_path\ '(?P<class_path>[^']+)':
    | (?:Group\ '(?P<group>[^']+)'\ does\ not\ accept\ option|Option)\ '(?P<option>[^']+)'
    | unrecognized\ arguments:\ (?P<argument>[^\s=]+)
    | Expected\ a\ dot\ import\ path\ string:\ (?P<class_name>\S+)
    | (?P<not_found>No\ module\ named\ \S+|module\ \S+\ has\ no\ attribute\ \S+)
    """,
    re.VERBOSE,
)


def _explain(parser: ArgumentParser, message: str) -> str:
    """jsonargparse's message as one line, with the name that was probably meant."""
    place: list[str] = []
    scope, hint, chosen, end = parser, None, "", 0
    for clue in _CLUE.finditer(message):
        kind = str(clue.lastgroup)
        name, end = clue[kind], clue.end()
        if chosen and kind in ("key", "option", "argument"):
            if kind != "key" and closest(
                name.lstrip("-").partition(".")[0], ("class_path", "init_args")
            ):
                return (
                    f"option '{'.'.join(place)}' takes class_path and init_args, so spelt, "
                    "and no more"
                )
            scope, place, chosen = _parser_of(chosen), [*place, "init_args"], ""
        match kind:
            case "key":
                place, hint = [*place, name], _types(scope).get(name)
            case "class_path":
                chosen = name
            case "option":
                return _unknown_option(place, ".".join(filter(None, (clue["group"], name))), scope)
            case "argument" if name.startswith("--"):
                return _unknown_option(place, name[2:], scope)
            case "argument":
                return (
                    f"unexpected argument '{name}': options start with --, all other arguments "
                    "stand side by side"
                )
            case "class_name":
                return _unknown_class(".".join(place), name, hint)
            case "not_found":
                return _unknown_class(".".join(place), chosen, hint, reason=f" ({name})")
    where = f"option '{'.'.join([*place, *(['init_args'] if chosen else [])])}': " if place else ""
    return where + _plain(message[end:])


def _refuse_nulls(parser: ArgumentParser, config: Namespace, prefix: str = "") -> None:
    for action in parser._actions:
        if action.default is not None and action.dest in config and config[action.dest] is None:
            hint = _types(parser).get(action.dest)
            if hint is not None and NoneType not in get_args(hint):
                raise TypeError(f'Parser key "{prefix}{action.dest}": expected a value, got null')


def _chosen_classes(value: Any, place: str = "") -> Iterator[tuple[str, str, Namespace]]:
    """Where a class is chosen, which, and what it is made with; at any depth."""
    if isinstance(value, list):
        for item in value:
            yield from _chosen_classes(item, place)
    elif isinstance(value, Namespace):
        if "class_path" in value and isinstance(value.get("init_args"), Namespace):
            yield place, value.class_path, value.init_args
        for name, inner in vars(value).items():
            yield from _chosen_classes(inner, f"{place}.{name}" if place else name)


def _unknown_option(place: list[str], name: str, scope: ArgumentParser) -> str:
    known = [".".join([*place, option]) for option in _option_names(scope)]
    wrong = ".".join([*place, name])
    return f"unknown option '{wrong}'" + _meant(closest(wrong, known))


def _unknown_class(option: str, name: str, hint: Any, reason: str = "") -> str:
    known = sorted({cls.__name__ for cls in _classes(hint)})
    meant = _meant(closest(name.rpartition(".")[2], known)) or f": known are {', '.join(known)}"
    return f"unknown class '{name}' for '{option}'{reason}{meant}"


def _meant(name: str | None) -> str:
    return f": the closest is '{name}'" if name else ""


def _plain(message: str) -> str:
    """One line, types by their names; of a union's alternatives all but None."""
    said, _, given = message.partition("Given value:")
    said = said.partition("Given value type:")[0].rpartition("Errors:")[2]
    reasons = [
        " ".join(part.split()) for part in re.split(r"\n\s*- ", said) if "'NoneType'" not in part
    ]
    line = re.sub(r"<class '(?:\w+\.)*(\w+)'>", r"\1", " or ".join(filter(None, reasons)))
    line = re.sub(r"\bExpected an? ", "expected ", line).replace(". Got value: ", ", got ")
    value = re.search(r"val='(.*)'\)|(\S.*)", given)  # an option inside a class comes wrapped
    return line if value is None or ", got " in line else f"{line}, got {value[1] or value[2]}"


def _parser_of(class_path: str) -> ArgumentParser:
    parser = CommandParser(exit_on_error=False)
    module, _, name = class_path.rpartition(".")
    parser.add_class_arguments(getattr(import_module(module), name), None)
    return parser


def _types(parser: ArgumentParser) -> dict[str, Any]:
    """Option name -> annotated type, None where it has none."""
    return {
        action.dest: vars(action).get("_typehint")
        for action in parser._actions
        if action.option_strings
    }


def _option_names(parser: ArgumentParser) -> Iterator[str]:
    """All that may be given, also what the known classes take."""
    for option, hint in _types(parser).items():
        yield option
        for cls in _classes(hint):
            yield from (f"{option}.init_args.{parameter}" for parameter in _parameters(cls))


def _parameters(cls: type) -> list[str]:
    try:
        return list(inspect.signature(cls).parameters)
    except ValueError:  # Paddle has layers written in C++, which do not tell theirs
        return []


def _classes(hint: Any) -> Iterator[type]:
    """The concrete classes that fit an annotation, its own arguments included (``list[Callback] |
    None``)."""
    if not inspect.isclass(hint) or get_args(hint):
        for part in get_args(hint):
            yield from _classes(part)
    elif hint.__module__ != "builtins":
        if not inspect.isabstract(hint):
            yield hint
        for subclass in hint.__subclasses__():
            yield from _classes(subclass)
