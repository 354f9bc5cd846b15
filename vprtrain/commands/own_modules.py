"""The option ``--import``: modules of the user, whose classes a configuration or a checkpoint
names."""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Iterable, Sequence

from jsonargparse import Namespace

from vprtrain.commands.config import CommandParser
from vprtrain.errors import UsageError, VprTrainError, cause, shown
from vprtrain.spec import is_module_name

VARIABLE = "VPRTRAIN_IMPORT"
"""The environment variable with further modules, separated by commas."""


def add_import(parser: CommandParser) -> None:
    """Declare ``--import``; :func:`import_modules` or :func:`split_import` obeys it."""
    parser.add_argument(
        "--import",
        action="append",
        type=str,
        metavar="MODULE",
        default=argparse.SUPPRESS,  # it is no part of a run's configuration
        help="a module of your own classes, from the working folder or Python's path; may be "
        f"repeated, also {VARIABLE}=a,b",
    )


def split_import(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """The modules that ``--import`` names, and the other arguments.

    For commands that need the classes before they declare the other options.

    Raises:
        UsageError: ``--import`` has no value.
    """
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    parser.add_argument("--import", action="append", default=[])
    try:
        found, others = parser.parse_known_args(arguments)
    except argparse.ArgumentError as error:
        raise UsageError("--import needs the name of a module") from error
    return vars(found)["import"], others


def import_chosen(options: Namespace) -> None:
    """Import the modules of ``--import`` and of the environment. Call ``runtime.prepare`` first."""
    import_modules(options.get("import", ()))


def has_chosen(options: Namespace) -> bool:
    """Whether there are modules for :func:`import_chosen`."""
    return bool(_unique(options.get("import", ())))


def import_modules(names: Iterable[str]) -> list[str]:
    """Import modules and those of the environment variable, and return their names.

    The working folder is searched first, as by ``python -m``.

    Raises:
        UsageError: a name is none of a module, or the module cannot be imported.
    """
    unique = _unique(names)
    if unique and os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    for name in unique:
        _import(name)
    return unique


def _unique(names: Iterable[str]) -> list[str]:
    """These names and those of the environment variable, each once."""
    chosen = [*names, *os.environ.get(VARIABLE, "").split(",")]
    return list(dict.fromkeys(name.strip() for name in chosen if name.strip()))


def _import(name: str) -> None:
    if name.endswith(".py") or not is_module_name(name):
        raise UsageError(
            f"--import {shown(name)}: expected the name of a module, such as mine for mine.py, or "
            "package.mine"
        )
    try:
        importlib.import_module(name)
    except VprTrainError:
        raise
    except ModuleNotFoundError as error:
        if error.name is None or not f"{name}.".startswith(f"{error.name}."):
            raise UsageError(f"--import {name}: it cannot be imported ({cause(error)})") from error
        raise UsageError(
            f"--import {name}: there is no module {error.name} in the working folder "
            f"{os.getcwd()} or on Python's path"
        ) from error
    except Exception as error:  # a module of the user may raise anything
        raise UsageError(f"--import {name}: it cannot be imported ({cause(error)})") from error
