"""Who may import whom: read from the source text, so that no import is missed and none is executed."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
STANDARD_LIBRARY_ONLY = ("vprtrain.checkpoint.files",)
FORBIDDEN = {
    "vprtrain": ("recipes",),
    "vprtrain.checkpoint": ("vprtrain.engine",),
    "vprtrain.engine": (
        "vprtrain.callbacks",
        "vprtrain.models",
        "vprtrain.data",
        "vprtrain.features",
        "vprtrain.losses",
        "vprtrain.scoring",
    ),
    "vprtrain.models": ("vprtrain.engine",),
    "vprtrain.losses": ("vprtrain.engine",),
    "vprtrain.features": ("vprtrain.engine",),
    "vprtrain.scoring": ("vprtrain.engine", "paddle"),
    "vprtrain.data.audio": ("paddle",),
    "vprtrain.inference.voiceprints": ("paddle", "vprtrain.engine"),
    "vprtrain.inference.voiceprint_file": ("paddle", "vprtrain.engine"),
    "vprtrain.inference.gallery": ("paddle", "vprtrain.engine"),
    "vprtrain.inference.speech": ("paddle", "vprtrain.engine"),
}
ONLY_IN = {"paddle.distributed": "vprtrain.distributed"}


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
            case ast.Call(func=ast.Name(id="import_module" | "__import__"), args=[ast.Constant(value=str(name)), *_]):
                yield node.lineno, name
            case ast.Call(func=ast.Attribute(attr="import_module"), args=[ast.Constant(value=str(name)), *_]):
                yield node.lineno, name
            case ast.Attribute(value=ast.Name(id="paddle"), attr=attribute):
                yield node.lineno, f"paddle.{attribute}"


def violations(source: str, module: str, is_package: bool = False) -> list[str]:
    tree = ast.parse(source)
    found = []
    for line, name in imported_names(tree, module, is_package):
        where = f"{module}, line {line}: {name}"
        for layer, forbidden in FORBIDDEN.items():
            if within(module, layer) and any(within(name, package) for package in forbidden):
                found.append(f"{where} is not for {layer}")
        if module in STANDARD_LIBRARY_ONLY and name.partition(".")[0] not in sys.stdlib_module_names:
            found.append(f"{where} is not in the standard library")
        for package, home in ONLY_IN.items():
            if within(name, package) and module != home:
                found.append(f"{where} is only for {home}")
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Name(id="getattr"), args=[_, ast.Constant(value=str(name)), _]):
                found.append(f"{module}, line {node.lineno}: getattr(.., {name!r}, default) probes for an attribute")
    return found


def modules() -> list[tuple[Path, str]]:
    files = sorted((ROOT / "vprtrain").rglob("*.py"))
    names = [".".join(file.relative_to(ROOT).with_suffix("").parts) for file in files]
    return [(file, name.removesuffix(".__init__")) for file, name in zip(files, names, strict=True)]


def test_every_module_keeps_to_its_layer() -> None:
    assert len(modules()) > 10
    found = []
    for file, name in modules():
        found += violations(file.read_text(encoding="utf-8"), name, is_package=file.name == "__init__.py")
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("vprtrain.checkpoint.files", "import numpy"),
        ("vprtrain.checkpoint.files", "from vprtrain.errors import RunError"),
        ("vprtrain.checkpoint.store", "from vprtrain.engine.state import Progress"),
        ("vprtrain.checkpoint.store", "from vprtrain import engine"),
        ("vprtrain.checkpoint.store", "from ..engine import state"),
        ("vprtrain.checkpoint.store", "from .. import engine"),
        ("vprtrain.engine.loop", "def f():\n    from vprtrain.callbacks import Checkpoint"),
        (
            "vprtrain.engine.loop",
            "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import vprtrain.models",
        ),
        ("vprtrain.engine.loop", "import importlib\nimportlib.import_module('vprtrain.data.audio')"),
        ("vprtrain.engine.loop", "import vprtrain.losses as losses"),
        ("vprtrain.engine.loop", "import vprtrain.features"),
        ("vprtrain.engine.loop", "import vprtrain.scoring.metrics"),
        ("vprtrain.models.tdnn", "from vprtrain.engine import Module"),
        ("vprtrain.losses.margin", "from vprtrain.engine import Module"),
        ("vprtrain.features.fbank", "from vprtrain.engine import Module"),
        ("vprtrain.scoring.metrics", "from vprtrain.engine import Module"),
        ("vprtrain.scoring.metrics", "import paddle"),
        ("vprtrain.data.audio", "import paddle.io"),
        ("vprtrain.speaker", "from recipes.cnceleb import run"),
        ("vprtrain.engine.loop", "import paddle.distributed as dist"),
        ("vprtrain.engine.loop", "from paddle import distributed"),
        ("vprtrain.engine.loop", "import paddle\npaddle.distributed.barrier()"),
        ("vprtrain.engine.loop", "def f(x):\n    return getattr(x, 'flag', None)"),
    ],
)
def test_a_violation_is_found(module: str, source: str) -> None:
    assert len(violations(source, module)) == 1


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("vprtrain.checkpoint.files", "import os\nfrom pathlib import Path"),
        ("vprtrain.checkpoint.store", "from .files import sync\nfrom vprtrain.errors import RunError"),
        ("vprtrain.engine.loop", "from vprtrain.checkpoint.store import Store"),
        ("vprtrain.callbacks.ema", "from vprtrain.engine import Callback"),
        ("vprtrain.distributed", "import paddle.distributed as dist"),
        ("vprtrain.cli", "def f(x, name):\n    return getattr(x, name)"),
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
        ("vprtrain.launch", ["paddle"]),
        ("vprtrain.cli", ["paddle", "numpy"]),
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
