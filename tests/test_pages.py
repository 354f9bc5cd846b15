"""Every block of the documentation works: it is run, or it says why not and its commands parse.

Marks in the pages are explained in pages.py.
"""

from __future__ import annotations

import ast
import json
import os
import re
import shlex
import stat
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from documented_commands import check_commands, parse_only
from pages import LANGUAGES, PAGES, ROOT, TRANSLATED, Block, blocks, name, stand_ins
from stand_ins import REAL, STAND_INS

from vprtrain.recipes import RECIPES
from vprtrain.recipes.own.settings import write_settings

ORIGINALS = [page for page in PAGES if page not in TRANSLATED]
DRIVER = Path(__file__).with_name("page_driver.py")


def is_executed(block: Block) -> bool:
    return block.is_run and (block.language in ("bash", "python") or block.title is not None)


def speed(page: Path) -> tuple[pytest.MarkDecorator, ...]:
    """The marker of a page: Python alone is quick; each command starts a process."""
    if any(need in REAL for need in stand_ins(page)):
        return (pytest.mark.real,)
    has_commands = any(block.language == "bash" and block.is_run for block in blocks(page))
    return (pytest.mark.slow,) if has_commands else ()


def parameters(pages: list[Path], *, with_speed: bool = False) -> list[object]:
    return [
        pytest.param(page, id=name(page), marks=speed(page) if with_speed else ()) for page in pages
    ]


@pytest.mark.parametrize("page", parameters(PAGES))
def test_every_block_is_run_or_says_why_not(page: Path) -> None:
    found, text = blocks(page), page.read_text(encoding="utf-8")
    assert len(found) == text.count("\n```") / 2 + text.count("\n    ```") / 2, "an odd fence"
    for block in found:
        where = f"{name(page)}:{block.line}"
        assert block.language in LANGUAGES, where
        if block.mark == "not run":
            assert len(block.about) > 10, f"{where}: a reason, please"
        if block.language == "python":
            ast.parse(block.text)
        if block.language == "yaml":
            yaml.safe_load(block.text)
            others = "".join(each.text for each in found if each.language in ("bash", "python"))
            assert block.title is not None and block.title in others, f"{where}: nothing reads it"
        if block.mark == "run with":
            assert block.language == "bash" and "vprtrain fit" in block.text, where


@pytest.mark.parametrize(
    "page",
    parameters(
        [page for page in ORIGINALS if any(map(is_executed, blocks(page)))], with_speed=True
    ),
)
def test_the_blocks_of_a_page_run(page: Path, tmp_path: Path) -> None:
    folder = tmp_path / "reader"
    folder.mkdir()
    for need in stand_ins(page):
        STAND_INS[need](folder)
    run_blocks(page, blocks(page), folder)


def test_the_engine_of_the_readme_learns(tmp_path: Path) -> None:
    """In the fast suite, though the page as a whole needs real speech."""
    (tmp_path / "reader").mkdir()
    found = blocks(ROOT / "README.md")
    first = next(place for place, each in enumerate(found) if "class Regression" in each.text)
    run_blocks(ROOT / "README.md", found[first : first + 2], tmp_path / "reader")
    assert (tmp_path / "reader" / "sums" / "best_model" / "model.state").is_file()


def run_blocks(page: Path, found: list[Block], folder: Path) -> None:
    """Run blocks of a page in order, in a folder with what they need."""
    steps = [
        (f"{name(page)}:{block.line}", *_step(block))
        for block in found
        if is_executed(block) or block.mark == "printed"
    ]
    file = folder.parent / "steps.json"
    file.write_text(json.dumps(steps))
    done = subprocess.run(
        [sys.executable, str(DRIVER), str(file)],
        cwd=folder,
        env=os.environ | {"PATH": f"{_programs(folder.parent)}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        timeout=1800,
    )
    assert done.returncode == 0, done.stderr


def _step(block: Block) -> tuple[str, str | None, str]:
    """Language, file and text, as page_driver.py takes them."""
    if block.mark == "printed":
        return "printed", None, block.text
    text = block.text
    if block.mark == "run with":  # a command may go on in the next line
        text = re.sub(r"(vprtrain fit(?:.*\\\n)*.*)", rf"\1 {block.about}", text)
    return block.language, block.title, text


def _programs(folder: Path) -> Path:
    """A folder with ``vprtrain`` and ``python`` of this environment."""
    programs = folder / "bin"
    programs.mkdir()
    for program, command in (("python", ""), ("vprtrain", "-m vprtrain")):
        path = programs / program
        path.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} {command} "$@"\n')
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return programs


@pytest.mark.parametrize(
    "page",
    parameters(
        [page for page in ORIGINALS if any(each.language == "bash" for each in blocks(page))]
    ),
)
def test_the_commands_of_a_page_are_understood(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parse_only(monkeypatch)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)  # --import
    (tmp_path / "data").mkdir()
    write_settings(
        tmp_path / "data",
        base=RECIPES["own"].config_file("campplus"),
        utterances=1000,
        trials="trials.txt",
        shards=False,
    )
    for block in blocks(page):
        if block.title is not None:
            with open(block.title, "a", encoding="utf-8") as file:
                file.write(block.text)
        elif block.language == "bash":
            check_commands(
                f"{block.text.rstrip()} {block.about if block.mark == 'run with' else ''}"
            )


@pytest.mark.parametrize("page", parameters(list(TRANSLATED)))
def test_a_translation_has_the_same_blocks(page: Path) -> None:
    translated, original = (
        [_without_comments(block) for block in blocks(each) if block.language != "text"]
        for each in (page, TRANSLATED[page])
    )
    assert translated == original


def _without_comments(block: Block) -> tuple[str, str | None, str]:
    """Comments and the title's words may be translated."""
    text = re.sub(r"\s+# .*", "", "\n" + block.text)
    return block.language, block.title, re.sub(r'""".*?"""', '""""""', text, flags=re.DOTALL)
