"""Who may import whom: read from the source text, so that no import is missed and none is
executed."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
ROOMS = (
    *("version", "errors", "files", "lists", "spec", "layers", "scoring", "checkpoint", "ranks"),
    *("runtime",),
    *("features", "losses", "models", "data", "engine", "callbacks", "speaker", "evaluation"),
    *("conversion", "pretrained", "extractors", "voiceprints", "diarization"),
    *("inference", "serving"),
    *("recipes", "commands", "__main__"),
)
"""The rooms of the house, from the ground up: each imports only from those before it."""
MOST_ROOT_MODULES = 6
STANDARD_LIBRARY_ONLY = ("vprtrain.files", "vprtrain.version")
FORBIDDEN = {
    "vprtrain.engine": (
        *("vprtrain.models", "vprtrain.data", "vprtrain.features", "vprtrain.losses"),
        "vprtrain.scoring",
    ),
    "vprtrain.scoring": ("paddle",),
    "vprtrain.data.audio": ("paddle",),
    "vprtrain.data.vad": ("paddle",),
    "vprtrain.voiceprints": ("paddle", "vprtrain.engine"),
    "vprtrain.diarization": ("paddle", "vprtrain.engine"),
    "vprtrain.serving": ("paddle", "vprtrain.engine"),
}
ONLY_IN = {"paddle.distributed": "vprtrain.ranks"}


def within(name: str, package: str) -> bool:
    return name == package or name.startswith(package + ".")


def imported_names(tree: ast.AST, module: str, is_package: bool) -> Iterator[tuple[int, str]]:
    """(line, dotted name) of every import, also inside functions and behind ``TYPE_CHECKING``."""
    package = module if is_package else module.rpartition(".")[0]
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names):
                yield from ((node.lineno, alias.name) for alias in names)
            case ast.ImportFrom(module=source, names=names, level=level):
                above = package.split(".")[: len(package.split(".")) - level + 1] if level else []
                base = ".".join([*above, *([source] if source else [])])
                yield from ((node.lineno, f"{base}.{alias.name}") for alias in names)
            case ast.Call(
                func=ast.Name(id="import_module" | "__import__"),
                args=[ast.Constant(value=str(name)), *_],
            ):
                yield node.lineno, name
            case ast.Call(
                func=ast.Attribute(attr="import_module"), args=[ast.Constant(value=str(name)), *_]
            ):
                yield node.lineno, name
            case ast.Attribute(value=ast.Name(id="paddle"), attr=attribute):
                yield node.lineno, f"paddle.{attribute}"


def room(module: str) -> str:
    """The part of a dotted name below ``vprtrain``; the package itself is the empty one."""
    return module.removeprefix("vprtrain").lstrip(".").partition(".")[0]


def is_upward(module: str, name: str) -> bool:
    """Whether an import leads from a room to one above it; the package's own face is above all."""
    if not within(name, "vprtrain") or not room(module):
        return False
    return room(name) not in ROOMS or ROOMS.index(room(name)) > ROOMS.index(room(module))


def violations(source: str, module: str, is_package: bool = False) -> list[str]:
    tree = ast.parse(source)
    found = []
    for line, name in imported_names(tree, module, is_package):
        where = f"{module}, line {line}: {name}"
        if is_upward(module, name):
            found.append(f"{where} is above {room(module)}")
        for layer, forbidden in FORBIDDEN.items():
            if within(module, layer) and any(within(name, package) for package in forbidden):
                found.append(f"{where} is not for {layer}")
        if (
            module in STANDARD_LIBRARY_ONLY
            and name.partition(".")[0] not in sys.stdlib_module_names
        ):
            found.append(f"{where} is not in the standard library")
        for package, home in ONLY_IN.items():
            if within(name, package) and not within(module, home):
                found.append(f"{where} is only for {home}")
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Name(id="getattr"), args=[_, ast.Constant(value=str(name)), _]):
                found.append(
                    f"{module}, line {node.lineno}: getattr(.., {name!r}, default)"
                    " probes for an attribute"
                )
    return found


def modules() -> list[tuple[Path, str]]:
    """Every file of the package, faces that are written as stubs too, and its module's name."""
    files = sorted([*(ROOT / "vprtrain").rglob("*.py"), *(ROOT / "vprtrain").rglob("*.pyi")])
    names = [".".join(file.relative_to(ROOT).with_suffix("").parts) for file in files]
    return [(file, name.removesuffix(".__init__")) for file, name in zip(files, names, strict=True)]


def import_graph() -> dict[str, set[str]]:
    """Module -> the modules of vprtrain that it imports, type-only and late imports included.

    A package's own modules are not counted as importing its face, which Python runs before them.
    """
    names = {name for _, name in modules()}
    graph: dict[str, set[str]] = {name: set() for name in names}
    for file, module in modules():
        tree = ast.parse(file.read_text(encoding="utf-8"))
        for _, imported in imported_names(tree, module, file.stem == "__init__"):
            found = imported if imported in names else imported.rpartition(".")[0]
            if found in names and found != module:
                graph[module].add(found)
    return graph


def circles(graph: dict[str, set[str]]) -> list[list[str]]:
    """The groups of modules that lead back to themselves: Tarjan's strong components."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(node: str) -> None:
        index[node] = low[node] = len(index)
        stack.append(node)
        for target in sorted(graph[node]):
            if target not in index:
                visit(target)
                low[node] = min(low[node], low[target])
            elif target in stack:
                low[node] = min(low[node], index[target])
        if low[node] == index[node]:
            group = stack[stack.index(node) :]
            del stack[stack.index(node) :]
            if len(group) > 1:
                found.append(sorted(group))

    for node in sorted(graph):
        if node not in index:
            visit(node)
    return found


def test_no_module_imports_in_a_circle(capsys: pytest.CaptureFixture[str]) -> None:
    graph = import_graph()
    found = circles(graph)
    arrows = sum(map(len, graph.values()))
    upward = [f"{a} -> {b}" for a, targets in graph.items() for b in targets if is_upward(a, b)]
    with capsys.disabled():
        print(
            f"\n{len(graph)} modules in {len(ROOMS)} rooms, {arrows} imports: "
            f"{len(found)} circles, {len(upward)} upward"
        )
    assert not found, found
    assert not upward, upward


def test_a_circle_is_found() -> None:
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": set()}) == [["b", "c"]]


def test_every_room_has_its_place_and_the_root_has_few_modules() -> None:
    package = ROOT / "vprtrain"
    own = {path.stem for path in package.glob("*.py")} - {"__init__"}
    rooms = own | {path.parent.name for path in package.glob("*/__init__.py")}
    assert rooms <= set(ROOMS)
    assert len(own) <= MOST_ROOT_MODULES, own


def test_every_package_hands_on_its_names() -> None:
    script = (
        "import importlib, pkgutil, vprtrain\n"
        "found = pkgutil.walk_packages(vprtrain.__path__, 'vprtrain.')\n"
        "faces = [module.name for module in found if module.ispkg]\n"
        "for name in ['vprtrain', *faces]:\n"
        "    face = importlib.import_module(name)\n"
        "    assert face.__all__ and face.__doc__, name\n"
        "    missing = [n for n in face.__all__ if getattr(face, n) is None]\n"
        "    assert not missing and set(face.__all__) <= set(dir(face)), (name, missing)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_every_module_keeps_to_its_layer() -> None:
    assert len(modules()) > 10
    found = []
    for file, name in modules():
        found += violations(file.read_text(encoding="utf-8"), name, file.stem == "__init__")
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("vprtrain.files", "import numpy"),
        ("vprtrain.files", "from vprtrain.errors import RunError"),
        ("vprtrain.checkpoint.store", "from vprtrain.engine.state import Progress"),
        ("vprtrain.checkpoint.store", "from vprtrain import engine"),
        ("vprtrain.checkpoint.store", "from ..engine import state"),
        ("vprtrain.checkpoint.store", "from .. import engine"),
        ("vprtrain.engine.loop", "def f():\n    from vprtrain.callbacks import Checkpoint"),
        (
            "vprtrain.engine.loop",
            "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import vprtrain.models",
        ),
        (
            "vprtrain.engine.loop",
            "import importlib\nimportlib.import_module('vprtrain.data.audio.reading')",
        ),
        ("vprtrain.engine.loop", "import vprtrain.losses as losses"),
        ("vprtrain.engine.loop", "import vprtrain.features"),
        ("vprtrain.engine.loop", "import vprtrain.scoring.metrics"),
        ("vprtrain.models.tdnn", "from vprtrain.engine import Module"),
        ("vprtrain.losses.margin", "from vprtrain.engine import Module"),
        ("vprtrain.features.fbank", "from vprtrain.engine import Module"),
        ("vprtrain.scoring.metrics", "from vprtrain.engine import Module"),
        ("vprtrain.scoring.metrics", "import paddle"),
        ("vprtrain.data.audio.reading", "import paddle.io"),
        ("vprtrain.speaker.module", "from vprtrain.recipes.cnceleb import prepare"),
        ("vprtrain.engine.loop", "import paddle.distributed as dist"),
        ("vprtrain.engine.loop", "from paddle import distributed"),
        ("vprtrain.engine.loop", "import paddle\npaddle.distributed.barrier()"),
        ("vprtrain.engine.loop", "def f(x):\n    return getattr(x, 'flag', None)"),
    ],
)
def test_a_violation_is_found(module: str, source: str) -> None:
    assert violations(source, module)


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("vprtrain.files", "import os\nfrom pathlib import Path"),
        (
            "vprtrain.checkpoint.store",
            "from .files import sync\nfrom vprtrain.errors import RunError",
        ),
        ("vprtrain.engine.loop", "from vprtrain.checkpoint.store import Store"),
        ("vprtrain.callbacks.ema", "from vprtrain.engine import Callback"),
        ("vprtrain.ranks.launched_ranks", "import paddle.distributed as dist"),
        ("vprtrain.commands.program", "def f(x, name):\n    return getattr(x, name)"),
    ],
)
def test_what_is_allowed_is_let_pass(module: str, source: str) -> None:
    assert violations(source, module) == []


IMPORT_ALL = """
import importlib, pkgutil, sys
package = importlib.import_module({package!r})
for module in pkgutil.iter_modules(getattr(package, "__path__", [])):
    importlib.import_module(package.__name__ + "." + module.name)
found = sorted(set({unwanted!r}) & set(sys.modules))
assert not found, f"importing {package} loads {{found}}"
"""


@pytest.mark.parametrize(
    ("package", "unwanted"),
    [
        ("vprtrain.engine", ["soundfile", "av", "soxr", "librosa"]),
        ("vprtrain.scoring", ["paddle"]),
        ("vprtrain.runtime", ["paddle"]),
        ("vprtrain.ranks.launcher", ["paddle"]),
        ("vprtrain.commands.program", ["paddle", "numpy"]),
    ],
)
def test_importing_stays_light(package: str, unwanted: list[str]) -> None:
    script = IMPORT_ALL.format(package=package, unwanted=unwanted)
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_the_package_itself_loads_paddle_only_when_a_class_is_asked_for() -> None:
    script = (
        "import sys, vprtrain\n"
        "assert 'paddle' not in sys.modules\n"
        "assert set(vprtrain.__all__) <= set(dir(vprtrain))\n"
        "from vprtrain import Module\n"
        "assert Module.__module__ == 'vprtrain.engine.module' and 'paddle' in sys.modules\n"
        "assert not hasattr(vprtrain, 'Modul')\n"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
