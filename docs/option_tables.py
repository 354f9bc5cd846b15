"""Tables of options and classes for the site, from the parsers of the commands (a hook of mkdocs).

A page asks for them by comments: ``<!-- options of: fit -->`` is a table of a command's options,
``<!-- classes of: vprtrain.models.SpeakerEncoder -->`` has a table for each class that can be
chosen where this one is expected.
"""

from __future__ import annotations

import inspect
import re
from argparse import SUPPRESS
from collections.abc import Iterator
from importlib import import_module
from pkgutil import resolve_name
from typing import Any, NoReturn, get_args

from jsonargparse import ArgumentParser, Namespace

from vprtrain.commands.config import CommandParser
from vprtrain.commands.main import COMMANDS
from vprtrain.commands.option_names import class_parser, known_classes

_MARK = re.compile(r"^<!-- (options|classes) of: (.+) -->$", re.MULTILINE)
_HEADER = "| {} | type | default | meaning |\n|---|---|---|---|"
_MODULE = re.compile(r"(?:\w+[.])+(?=\w)")


def on_page_markdown(markdown: str, **_: Any) -> str:
    """The page with tables in place of the comments; mkdocs calls it for every page."""
    tables = {"options": options_of, "classes": classes_of}
    return _MARK.sub(lambda mark: tables[mark[1]](mark[2]), markdown)


def options_of(command: str) -> str:
    """The table of a command's options: ``fit``, or ``prepare --recipe cnceleb``."""
    return "\n".join([_HEADER.format("option"), *_rows(parser_of(command), prefix="--")])


def parser_of(command: str) -> CommandParser:
    """The parser of a command, with its options declared."""
    name, *arguments = command.split()
    (function,) = (each for each in COMMANDS if each.__name__ == name)
    parser = _Declaring(prog=name)
    try:
        function(parser, [*arguments, "--help"])
    except _DeclaredError:
        return parser
    raise RuntimeError(f"{command} has parsed nothing")


def classes_of(base: str) -> str:
    """A heading, the first paragraph and the arguments of each public class below a base."""
    package, base_class = import_module(base.rpartition(".")[0]), resolve_name(base)
    classes = dict.fromkeys(known_classes(base_class))
    chosen = [each for each in classes if each is not base_class or len(classes) == 1]
    parts = []
    for cls in [each for each in chosen if each.__name__ in dir(package)]:
        summary = (inspect.getdoc(cls) or "").partition("\n\n")[0].replace("\n", " ")
        rows = list(_rows(class_parser(cls)))
        parts.append(f"### {cls.__name__}\n\n{_markdown(summary)}")
        if rows:
            parts.append("\n".join([_HEADER.format("argument"), *rows]))
    return "\n\n".join(parts)


class _DeclaredError(Exception):
    """Ends a command that has declared its options."""


class _Declaring(CommandParser):
    def parse_args(self, *args: Any, **options: Any) -> NoReturn:
        raise _DeclaredError


def _rows(parser: ArgumentParser, prefix: str = "") -> Iterator[str]:
    for action in parser._actions:
        if not _is_option(parser, action):
            continue
        name = f"{prefix if action.option_strings else ''}{action.dest}"
        cells = (f"`{name}`", _type(action), _default(action), _markdown(action.help or ""))
        yield f"| {' | '.join(cells)} |"


def _is_option(parser: ArgumentParser, action: Any) -> bool:
    """Whether it is neither a kind of help nor ``--data FILE`` beside the options of a group."""
    is_group = any(each.dest.startswith(f"{action.dest}.") for each in parser._actions)
    has_class = vars(action).get("_typehint") is not None
    is_help = action.dest.rpartition(".")[2] in ("help", "print_config", "config")
    return not is_help and (has_class or not is_group)


def _type(action: Any) -> str:
    hint = vars(action).get("_typehint") or action.type
    if hint is None:
        return "a flag" if action.nargs == 0 else "text"
    text = hint.__name__ if inspect.isclass(hint) and not get_args(hint) else str(hint)
    return f"`{_MODULE.sub('', text)}`"


def _default(action: Any) -> str:
    default = action.default
    if action.required:
        return "required"
    if default is None or default == SUPPRESS or action.nargs == 0:
        return ""
    if isinstance(default, list):
        names = [each["class_path"] if isinstance(each, dict) else str(each) for each in default]
        return ", ".join(f"`{_MODULE.sub('', name)}`" for name in names)
    named = default["class_path"] if isinstance(default, dict | Namespace) else default
    return f"`{_MODULE.sub('', named) if named is not default else named}`"


def _markdown(text: str) -> str:
    """A docstring's text for a table: roles and double backticks become code, nothing HTML."""
    text = re.sub(r"(?::\w+:)?`{1,2}~?([^`]*)`{1,2}", r"`\1`", " ".join(text.split()))
    parts = text.split("`")
    parts[::2] = [part.replace("<", "&lt;").replace("|", "&#124;") for part in parts[::2]]
    return "`".join(parts)
