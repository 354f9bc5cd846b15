"""What the documentation shows works: its Python runs, its commands parse, its links lead
somewhere."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import os
import pkgutil
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import soundfile
from small_checkpoint import voice, write_checkpoint
from test_architecture import ROOMS, imported_names, modules, room, within

import vprtrain
from vprtrain import runtime
from vprtrain.__main__ import main as vprtrain_main
from vprtrain.commands.config import CommandParser
from vprtrain.commands.program import Main
from vprtrain.commands.recipe_program import recipe_program
from vprtrain.engine import Callback
from vprtrain.recipes import RECIPES
from vprtrain.recipes.own.settings import write_settings

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib  # which pytest brings

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = sorted([*DOCS.rglob("*.md"), ROOT / "CONTRIBUTING.md"])
READMES = sorted([*ROOT.glob("README*.md"), *ROOT.glob("recipes/*/README.md")])
"""Their Python is run by test_readme.py, with what it needs."""
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
GLOSSARY = """
recording, utterance, crop, padding, batch, micro-batch, step, epoch, commit, generation,
run directory, snapshot, resume, rank, rank 0, world size, embedding, enrolment, voiceprint, trial,
target, non-target, threshold, score, cohort, margin, scale, head, encoder, feature, frame,
filter bank, front end, kill point
"""
_NOT_RUN = "<!-- not run: "
_FENCE = re.compile(
    r"^(?P<indent> *)```(?P<language>\w+)(?: title=\"(?P<title>[^\"]+)\")?\n"
    r"(?P<text>.*?)^(?P=indent)```",
    re.DOTALL | re.MULTILINE,
)


class Block(NamedTuple):
    """A fenced block of a page."""

    language: str
    title: str | None
    """The file that the block is (a part of)."""
    text: str


def blocks(page: Path) -> list[Block]:
    """The page's blocks, without those that a comment before them takes out, with a reason."""
    text, found = page.read_text(encoding="utf-8"), []
    for fence in _FENCE.finditer(text):
        before = text[: fence.start()].rstrip().rpartition("\n")[2].strip()
        if before.startswith(_NOT_RUN):
            assert len(before.removeprefix(_NOT_RUN)) > 20, f"{page}: a reason, please"
            continue
        lines = fence["text"].splitlines(keepends=True)
        dedented = "".join(line.removeprefix(fence["indent"]) for line in lines)
        found.append(Block(fence["language"], fence["title"], dedented))
    return found


def pages_with(language: str, pages: list[Path]) -> list[str]:
    """The pages that have something to run in a language, relative to the root."""
    return [
        str(page.relative_to(ROOT))
        for page in pages
        if any(block.language == language for block in blocks(page))
    ]


def write_titled_files(page: Path, folder: Path) -> None:
    """The files that the page shows; a file in several parts is their sequence."""
    for block in blocks(page):
        if block.title is not None:
            with open(folder / block.title, "a", encoding="utf-8") as file:
                file.write(block.text)


@pytest.mark.parametrize("name", pages_with("python", PAGES))
def test_the_python_of_a_page_runs(name: str, tmp_path: Path) -> None:
    page = ROOT / name
    write_titled_files(page, tmp_path)
    if "<!-- needs: a model" in page.read_text(encoding="utf-8"):
        make_quick_start(tmp_path / "demo")
        make_own_model(tmp_path)
    script = "\n".join(
        block.text for block in blocks(page) if block.language == "python" and not block.title
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr


def make_quick_start(folder: Path) -> None:
    """A model and recordings where the quick start leaves them."""
    write_checkpoint(folder / "models" / "TDNN_Fbank")
    for speaker, take in [(0, 1), (0, 2), (0, 3), (1, 1)]:
        path = folder / f"corpus/CN-Celeb_flac/data/id0080{speaker}/speech-01-00{take}.flac"
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, np.clip(voice(speaker, take), -1, 1), 16000)


def make_own_model(folder: Path) -> None:
    """A calibrated model and recordings of one's own, as the guide names them."""
    write_checkpoint(folder / "models" / "mine")
    for name, speaker, take in [("ann", 0, 1), ("ann", 0, 2), ("ann", 0, 3), ("bob", 1, 1)]:
        path = folder / "my_speakers" / name / f"{take}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, np.clip(voice(speaker, take), -1, 1), 16000)


class ParsedError(Exception):
    """Ends a command that has understood its arguments."""


@pytest.fixture
def parse_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands end with :class:`ParsedError` once their options are parsed, before they act."""
    parse_args = CommandParser.parse_args

    def parse(self: CommandParser, *args, **options):
        config = parse_args(self, *args, **options)
        if self.exit_on_error:  # a command's own parser
            raise ParsedError
        return config

    monkeypatch.setattr(CommandParser, "parse_args", parse)
    monkeypatch.setattr(runtime, "prepare", lambda: None)  # signal handlers


@pytest.mark.parametrize("name", pages_with("bash", PAGES + READMES))
def test_the_commands_of_a_page_are_understood(
    name: str, parse_only: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_titled_files(ROOT / name, tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)  # PYTHONPATH=.
    (tmp_path / "data").mkdir()
    write_settings(
        tmp_path / "data",
        base=RECIPES["own"].config_file("campplus"),
        utterances=1000,
        trials="trials.txt",
        shards=False,
    )
    for block in blocks(ROOT / name):
        if block.language == "bash":
            for line in re.split(r"\n|&&", block.text.replace("\\\n", " ")):
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


_LINK = re.compile(r"(?<!!)\[[^\]]+\]\(([^)\s]+)\)")


def links(page: Path) -> Iterator[tuple[Path, str]]:
    """The (file, anchor) that each link of a page within the repository leads to."""
    text = _FENCE.sub("", page.read_text(encoding="utf-8"))
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
    found = [(page, *link) for page in PAGES + READMES for link in links(page)]
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
