"""Names of options and classes: which ones a parser knows, and which one was probably meant."""

from __future__ import annotations

import difflib
import inspect
import os
from collections.abc import Iterable, Iterator
from functools import reduce
from operator import or_
from typing import Any, get_args, get_origin

from jsonargparse import ArgumentParser


def closest(name: str, candidates: Iterable[str]) -> str | None:
    """The candidate that ``name`` is most likely a misspelling of, ``None`` if none resembles it.

    Names may be dotted. Their last parts must resemble each other; the whole names decide among
    those that do: ``lr`` finds ``optimizer.init_args.lr``.
    """

    def likeness(candidate: str) -> tuple[float, float]:
        last, whole = (
            difflib.SequenceMatcher(None, a.lower(), b.lower()).ratio()
            for a, b in ((name.rpartition(".")[2], candidate.rpartition(".")[2]), (name, candidate))
        )
        return (last + whole if last >= 0.6 else 0.0), whole

    best = max(candidates, key=likeness, default=None)
    return best if best is not None and likeness(best)[0] > 0 else None


def hint_text(name: str | None) -> str:
    """The end of an error message that names the closest candidate; empty without one."""
    return f": the closest is '{name}'" if name else ""


def option_types(parser: ArgumentParser) -> dict[str, Any]:
    """The annotated type of every option by name, ``None`` for an option without one."""
    return {
        action.dest: vars(action).get("_typehint")
        for action in parser._actions
        if action.option_strings
    }


def declare_paths_as_text(parser: ArgumentParser) -> None:
    """Take os.PathLike out of the types of options; on a command line every path is text.

    With it jsonargparse reads ``null`` on the command line as a path called None.
    """
    for action in parser._actions:
        parts = get_args(vars(action).get("_typehint"))
        if str in parts and len(parts) > 1:
            kept = [part for part in parts if get_origin(part) is not os.PathLike]
            vars(action)["_typehint"] = reduce(or_, kept)


def option_names(parser: ArgumentParser) -> Iterator[str]:
    """Every option, and the arguments of the classes that an option can choose among."""
    for option, hint in option_types(parser).items():
        yield option
        for cls in known_classes(hint):
            yield from (f"{option}.init_args.{parameter}" for parameter in _parameters(cls))


def takes_class(hint: Any) -> bool:
    """Whether the value of an option with this annotation is a class, or a list of classes."""
    return str not in _parts(hint) and any(
        not issubclass(cls, os.PathLike) for cls in known_classes(hint)
    )


def known_classes(hint: Any) -> Iterator[type]:
    """The imported concrete classes that fit an annotation (``list[Callback] | None``)."""
    for part in _parts(hint):
        if inspect.isclass(part) and part.__module__ != "builtins":
            yield from _concrete_classes(part)


def class_parser(cls: type) -> ArgumentParser:
    """A parser whose options are the arguments of a class."""
    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(cls, None)
    return parser


def _parts(hint: Any) -> Iterator[Any]:
    """An annotation without arguments of its own, or the parts of one that has some."""
    if not get_args(hint):
        yield hint
    for part in get_args(hint):
        yield from _parts(part)


def _concrete_classes(cls: type) -> Iterator[type]:
    if not inspect.isabstract(cls):
        yield cls
    subclasses: list[type] = cls.__subclasses__()
    for subclass in subclasses:
        yield from _concrete_classes(subclass)


def _parameters(cls: type) -> list[str]:
    try:
        return list(inspect.signature(cls).parameters)
    except ValueError:  # some layers of Paddle are written in C++ and have no signature
        return []
