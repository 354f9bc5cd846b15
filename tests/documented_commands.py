"""Checks that a command of the documentation exists and understands its options."""

from __future__ import annotations

import re
import shlex
import sys
from pathlib import Path

import pytest
from pages import ROOT

from vprtrain import runtime
from vprtrain.__main__ import main as vprtrain_main
from vprtrain.commands.config import CommandParser
from vprtrain.commands.program import Main
from vprtrain.commands.recipe_program import recipe_program
from vprtrain.recipes import RECIPES

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib  # which pytest brings

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


class ParsedError(Exception):
    """Ends a command that has understood its arguments."""


def parse_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands end with :class:`ParsedError` once their options are parsed, before
    they act."""
    parse_args = CommandParser.parse_args

    def parse(self: CommandParser, *args, **options):
        config = parse_args(self, *args, **options)
        if self.exit_on_error:  # a command's own parser
            raise ParsedError
        return config

    monkeypatch.setattr(CommandParser, "parse_args", parse)
    monkeypatch.setattr(runtime, "prepare", lambda: None)  # signal handlers


def check_commands(text: str) -> None:
    """Check every line of a bash block."""
    for line in re.split(r"\n|&&", text.replace("\\\n", " ")):
        check_command(shlex.split(line, comments=True))


def check_command(words: list[str]) -> None:
    match [word for word in words if not re.match("[A-Z_]+=", word)]:
        case ["vprtrain", "launch", *rest]:
            check_parses(vprtrain_main, ["launch", *rest])
            check_command(rest[rest.index("--") + 1 :])
        case ["vprtrain", *rest]:
            check_parses(vprtrain_main, rest)
        case ["python", "-m", "paddle.distributed.launch", *rest]:
            script = next(place for place, word in enumerate(rest) if word.endswith("run.py"))
            check_command(["python", *rest[script:]])
        case ["python", script, *rest] | [script, *rest] if script.startswith("recipes/"):
            assert (ROOT / script).is_file()
            check_parses(recipe_program(RECIPES[Path(script).parent.name]), rest)
        case ["python", "-m", "venv", _] | ["source", ".venv/bin/activate"]:
            pass
        case ["python", script, *_]:
            assert (ROOT / script).is_file(), script
        case ["pip", "install", "-e", what] | ["pip", "install", "-e", what, "pre-commit"]:
            extras = re.fullmatch(r"\.(?:\[([\w,]+)\])?", what)
            assert extras is not None, what
            known = PROJECT["project"]["optional-dependencies"]
            assert {*(extras[1] or "").split(",")} - {""} <= known.keys(), what
        case ["pytest", *rest]:
            check_pytest(rest)
        case ["printf", _, ">", _]:
            pass
        case ["mkdocs", "build" | "serve", *_] | ["pre-commit", "install" | "run", *_]:
            pass
        case ["ruff", "check" | "format", *_] | ["mypy"] | ["git", *_] | []:
            pass
        case [script]:
            assert (ROOT / script).is_file(), script
        case other:
            pytest.fail(f"nothing checks {shlex.join(other)}")


def check_parses(main: Main, arguments: list[str]) -> None:
    try:
        main(arguments)
    except ParsedError:
        return
    except SystemExit as ended:  # --help and --print_config
        assert not ended.code, arguments


def check_pytest(arguments: list[str]) -> None:
    """Markers are declared and paths exist."""
    markers = [
        line.partition(":")[0] for line in PROJECT["tool"]["pytest"]["ini_options"]["markers"]
    ]
    for before, word in zip(["", *arguments], arguments, strict=False):
        if before == "-m":
            assert word in markers
        elif before not in ("-n", "-k") and not word.startswith("-"):
            assert (ROOT / word).exists(), word
