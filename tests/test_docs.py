"""What the documentation says is so: links lead somewhere, lists are complete, the site is built.

test_pages.py runs its blocks.
"""

from __future__ import annotations

import ast
import importlib
import importlib.util
import inspect
import os
import pkgutil
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from pages import DOCS, FENCE, PAGES, ROOT
from test_architecture import ROOMS, imported_names, modules, room, within

import vprtrain
from vprtrain import runtime
from vprtrain.callbacks import default_callbacks
from vprtrain.commands import training
from vprtrain.commands.config import CommandParser
from vprtrain.commands.main import COMMANDS
from vprtrain.commands.option_names import known_classes, option_types, takes_class
from vprtrain.engine import Callback
from vprtrain.recipes import RECIPES

GLOSSARY = """
recording, utterance, crop, padding, batch, micro-batch, step, epoch, commit, generation,
run directory, snapshot, resume, rank, rank 0, world size, embedding, enrolment, voiceprint, trial,
target, non-target, threshold, score, cohort, margin, scale, head, encoder, feature, frame,
filter bank, front end, kill point
"""
UNLISTED = {
    *("Callback", "SpeakerEncoder", "SpeakerLoss", "MarginLoss", "MarginSoftmaxLoss"),
    *("FeatureExtractor", "Head", "CosineHead", "LinearHead", "SampledCosineHead"),
}
"""Bases of a reader's own classes, and what a loss chooses by itself."""
_LINK = re.compile(r"(?<!!)\[[^\]]+\]\(([^)\s]+)\)")


def links(page: Path) -> Iterator[tuple[Path, str]]:
    """The (file, anchor) that each link of a page within the repository leads to."""
    text = FENCE.sub("", page.read_text(encoding="utf-8"))
    for target in _LINK.findall(text):
        if "://" not in target:
            path, _, anchor = target.partition("#")
            yield (page.parent / path if path else page), anchor


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as Python-Markdown makes them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    plain = [re.sub(r"[^\w\s-]", "", heading.lower()).strip() for heading in headings]
    return {re.sub(r"[-\s]+", "-", heading) for heading in plain}


def test_every_link_leads_somewhere() -> None:
    found = [(page, *link) for page in PAGES for link in links(page)]
    assert len(found) > 10
    broken = [
        f"{page.relative_to(ROOT)}: {target}#{anchor}"
        for page, target, anchor in found
        if not target.is_file() or (anchor and anchor not in anchors(target))
    ]
    assert not broken, broken


def test_the_glossary_has_the_terms_that_the_code_uses() -> None:
    text = (DOCS / "glossary.md").read_text().replace("| term | meaning |\n", "")
    rows = re.findall(r"^\| (.+?) \| (.+) \|$", text, re.MULTILINE)
    bold = [term for _, meaning in rows for term in re.findall(r"\*\*(.+?)\*\*", meaning)]
    defined = {term.strip().lower() for words, _ in rows for term in words.split(", ")}
    missing = {term.strip() for term in GLOSSARY.replace("\n", " ").split(",")} - defined
    assert missing <= {term.lower() for term in bold}, missing
    assert len(rows) == len({words for words, _ in rows})


def test_the_page_on_rooms_has_the_order_of_the_import_test() -> None:
    text = (DOCS / "architecture" / "index.md").read_text()
    listed = text.partition("<!-- rooms: from the ground up -->\n```text\n")[2].partition("```")[0]
    assert tuple(listed.split()) == ROOMS


def test_rooms_that_the_page_calls_free_of_paddle_are() -> None:
    text = (DOCS / "architecture" / "index.md").read_text()
    rows = re.findall(r"^\| (`.+?) \| .+ \| no \|$", text, re.MULTILINE)
    free = {name for row in rows for name in re.findall(r"`(\w+)`", row)}
    assert {"scoring", "data", "files"} <= free
    importing = {
        name
        for file, name in modules()
        for _, imported in imported_names(
            ast.parse(file.read_text(encoding="utf-8")), name, file.stem == "__init__"
        )
        if within(imported, "paddle")
    }
    assert len(importing) > 20
    assert [name for name in sorted(importing) if room(name) in free] == []


def test_every_hook_is_explained() -> None:
    text = (DOCS / "extend" / "engine.md").read_text()
    hooks = [name for name in vars(Callback) if name.startswith("on_")]
    assert len(hooks) > 10
    assert [name for name in hooks if f"`{name}(" not in text] == []


@pytest.mark.parametrize(
    ("page", "face"),
    [
        ("extend/engine.md", "callbacks"),
        ("guide/models.md", "models"),
        ("guide/models.md", "losses"),
        ("guide/models.md", "features"),
    ],
)
def test_every_class_of_a_part_is_listed(page: str, face: str) -> None:
    text = (DOCS / page).read_text()
    module = importlib.import_module(f"vprtrain.{face}")
    classes = {name for name in module.__all__ if inspect.isclass(getattr(module, name))}
    missing = {name for name in classes if not re.search(rf"\b{name}\b", text)}
    assert missing <= UNLISTED


def test_the_default_callbacks_are_marked() -> None:
    text = (DOCS / "extend" / "engine.md").read_text()
    rows = [line for line in text.splitlines() if line.startswith("| ")]
    marked = re.findall(r"\b(\w+) \*", "".join(rows))
    assert sorted(marked) == sorted(type(each).__name__ for each in default_callbacks())


def test_the_reference_of_options_has_every_option_and_class(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(runtime, "prepare", lambda: None)  # signal handlers
    monkeypatch.syspath_prepend(DOCS)
    tables = importlib.import_module("option_tables")
    source = (DOCS / "reference" / "configuration.md").read_text()
    page = tables.on_page_markdown(source)
    assert "| `--data.batch_size` | `int` | `64` | utterances in a training batch" in page
    parser = CommandParser(prog="fit")
    training.add_options(parser)
    options = [each for each in option_types(parser) if not each.endswith("help")]
    assert len(options) > 40
    groups = {"data", "engine", "config", "print_config"}
    missing = [each for each in options if each not in groups and f"| `--{each}` |" not in page]
    assert missing == []
    bases = re.findall(r"^<!-- classes of: (\S+) -->$", source, re.MULTILINE)
    for chosen in (hint for hint in option_types(parser).values() if takes_class(hint)):
        known = {f"{cls.__module__}.{cls.__qualname__}" for cls in known_classes(chosen)}
        listed = {
            f"{cls.__module__}.{cls.__qualname__}"
            for base in bases
            for cls in known_classes(pkgutil.resolve_name(base))
        }
        assert known <= listed


_OPTION = re.compile(r"--[a-z][\w.-]*")


@pytest.fixture
def known_options(monkeypatch: pytest.MonkeyPatch) -> dict[str, set[str]]:
    """The options of each command; under "", those of all."""
    monkeypatch.setattr(runtime, "prepare", lambda: None)  # signal handlers
    monkeypatch.syspath_prepend(DOCS)
    parser_of = importlib.import_module("option_tables").parser_of
    commands = [each.__name__ for each in COMMANDS if each.__name__ != "demo"]
    options: dict[str, set[str]] = {}
    for variant in (*commands, *(f"prepare --recipe {name}" for name in RECIPES)):
        declared = {name for each in parser_of(variant)._actions for name in each.option_strings}
        command = variant.partition(" ")[0]
        options[command] = options.get(command, {"--debug", "--recipe"}) | declared
    return {**options, "": set().union({"--version"}, *options.values())}


def test_options_in_the_text_exist(known_options: dict[str, set[str]]) -> None:
    """Those of ``vprtrain COMMAND --option``, and of ``--option`` alone."""
    found, unknown = 0, []
    for page in PAGES:
        for code in re.findall(r"`([^`\n]+)`", FENCE.sub("", page.read_text(encoding="utf-8"))):
            program = re.match(r"vprtrain ([a-z]+)|(?=--)", code)
            if program is None:
                continue
            for option in _OPTION.findall(code):
                found += 1
                of_a_class = re.match(r"--(model|feature|loss)\.", option)
                if not of_a_class and option not in known_options[program[1] or ""]:
                    unknown.append(f"{page.name}: {code}")
    assert found > 100
    assert unknown == []


def faces() -> list[str]:
    """Every package of vprtrain, itself aside."""
    found = pkgutil.walk_packages(vprtrain.__path__, "vprtrain.")
    return [module.name for module in found if module.ispkg]


def test_every_face_is_in_the_reference() -> None:
    text = "\n".join(page.read_text() for page in (DOCS / "reference").glob("*.md"))
    described = set(re.findall(r"^::: (\S+)$", text, re.MULTILINE))
    # a recipe's own package hands on the one object that vprtrain.recipes has too
    expected = {face for face in faces() if not face.startswith("vprtrain.recipes.")}
    assert expected - described == set()


@pytest.mark.skipif(
    importlib.util.find_spec("mkdocs") is None or importlib.util.find_spec("mkdocstrings") is None,
    reason="mkdocs is not installed: pip install -e '.[docs]'",
)
def test_the_site_is_built_without_a_warning_and_has_every_public_name(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path)]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}  # an announcement, not of this site
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=300, env=environment
    )
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr
    html = "".join(page.read_text() for page in (tmp_path / "reference").glob("*.html"))
    missing = [
        f"{face}.{name}"
        for face in faces()
        if not face.startswith("vprtrain.recipes.")
        for name in importlib.import_module(face).__all__
        if f'id="{face}.{name}"' not in html
    ]
    assert not missing, missing
