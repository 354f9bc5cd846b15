"""Typed configuration from YAML files and the command line (jsonargparse), with one-line errors."""

from __future__ import annotations

from argparse import SUPPRESS, HelpFormatter
from collections.abc import Collection, Iterator
from itertools import pairwise
from logging import Logger
from pkgutil import resolve_name
from types import NoneType
from typing import Any, NoReturn, get_args

from jsonargparse import ArgumentParser, Namespace

from vprtrain.commands.help_format import MARKUP, PlainHelp
from vprtrain.commands.name_check import check_names
from vprtrain.commands.option_names import class_parser, option_types
from vprtrain.commands.parser_messages import one_line, plain
from vprtrain.errors import UsageError, VprTrainError, cause


class CommandParser(ArgumentParser):
    """An argument parser for one command: exact option names only, and ``--config``.

    A mistake raises :class:`UsageError` in one line that names the option or class that was
    probably meant, also inside the ``init_args`` of a class.
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
            formatter_class=PlainHelp,
        )
        self.common: Collection[str] = ()
        """The options that ``--help`` lists; without any, it lists all, as ``--help all`` does."""
        self._lists_all = False
        # jsonargparse makes parsers of this class for init_args, with exit_on_error=False.
        if exit_on_error:
            self.add_argument(
                "--config", action="config", help="YAML file; later options override it"
            )
            self._explain_print_config()

    def _explain_print_config(self) -> None:
        """Give the option that comes with ``--config`` a text of our own."""
        for action in self._actions:
            if "--print_config" in action.option_strings:
                action.help = "print the configuration that the other options make, and end"
                action.metavar = ""

    # The other arguments are those that jsonargparse passes to its own parsers of init_args.
    def parse_args(self, args: Any = None, *more: Any, **options: Any) -> Namespace:  # type: ignore[override]
        """The configuration of a list of arguments.

        Raises:
            UsageError: an argument, a file or a value cannot be used.
        """
        if self.exit_on_error and args is not None:
            self._lists_all = any(
                option in ("--help", "-h") and value == "all" for option, value in pairwise(args)
            )
            try:
                args = check_names(self, args)
            except UsageError as error:
                raise UsageError(f"{error} {self._hint}") from error
        config = super().parse_args(args, *more, **options)
        self._check_groups(config)
        self._check_nulls(config)
        return config

    def _check_groups(self, config: Namespace) -> None:
        """Refuse a single value in the place of a group of options, which jsonargparse accepts."""
        for group in self.groups or {}:
            if group in config and not isinstance(config[group], Namespace):
                raise UsageError(
                    f"option '--{group}': expected the options of this group, "
                    f"got {config[group]!r} {self._hint}"
                )

    def _check_nulls(self, config: Namespace) -> None:
        """Refuse null for options whose type does not allow it, which jsonargparse accepts."""
        nulls = list(_null_options(self, config))
        for place, class_path, init_args in _chosen_classes(config):
            parser = class_parser(resolve_name(class_path))
            nulls += [f"{place}.init_args.{name}" for name in _null_options(parser, init_args)]
        if nulls:
            raise UsageError(f"option '--{nulls[0]}': expected a value, got null {self._hint}")

    def format_help(self, formatter: HelpFormatter | None = None) -> str:
        """The help text, without the markup of the docstrings that it comes from."""
        if not self.common or self._lists_all:
            return MARKUP.sub(r"\1", super().format_help(formatter))
        hidden = {
            action: action.help
            for action in self._actions
            if action.dest not in self.common and action.dest != "help"
        }
        for action in hidden:
            action.help = SUPPRESS
        text = MARKUP.sub(r"\1", super().format_help(formatter))
        for action, help_text in hidden.items():
            action.help = help_text
        return f"{text}\n{self.prog} --help all lists {len(hidden)} more options.\n"

    @property
    def _hint(self) -> str:
        """The end of an error message."""
        return f"(--help {'all ' if self.common else ''}lists all options)"

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Raise :class:`UsageError` with jsonargparse's message in one line."""
        if not self.exit_on_error:  # the outer parser reports it, with the whole option name
            super().error(message, ex)
        positionals = [action.dest for action in self._actions if not action.option_strings]
        raise UsageError(f"{one_line(message, positionals)} {self._hint}") from ex


def dump(parser: CommandParser, config: Namespace) -> str:
    """The whole configuration, with defaults, as YAML that ``--config`` reads back."""
    text: str = parser.dump(config, skip_unset=False)
    return text


def instantiate(parser: CommandParser, config: Namespace) -> Namespace:
    """The configuration with an object in place of every class.

    Raises:
        UsageError: a constructor raised an exception.
    """
    try:
        objects: Namespace = parser.instantiate(config)
    except VprTrainError:
        raise
    except ValueError as error:
        # jsonargparse wraps the errors of some constructors, and adds all of their arguments.
        own = isinstance(error.__cause__, VprTrainError)
        reason = str(error.__cause__) if own else plain(str(error))
        raise UsageError(f"the configuration cannot be used: {reason}") from error
    except Exception as error:  # a class of the user may raise anything
        raise UsageError(f"the configuration cannot be used: {cause(error)}") from error
    return objects


def _null_options(parser: ArgumentParser, config: Namespace) -> Iterator[str]:
    types = option_types(parser)
    for action in parser._actions:
        if action.default is not None and action.dest in config and config[action.dest] is None:
            hint = types.get(action.dest)
            if hint is not None and NoneType not in get_args(hint):
                yield action.dest


def _chosen_classes(value: Any, place: str = "") -> Iterator[tuple[str, str, Namespace]]:
    """(option, class_path, init_args) of every class in a configuration, at any depth."""
    if isinstance(value, list):
        for item in value:
            yield from _chosen_classes(item, place)
    elif isinstance(value, Namespace):
        if "class_path" in value and isinstance(value.get("init_args"), Namespace):
            yield place, value.class_path, value.init_args
        for name, inner in vars(value).items():
            yield from _chosen_classes(inner, f"{place}.{name}" if place else name)
