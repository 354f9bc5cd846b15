"""The wheel: what is in it, and that it trains without the checkout."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from importlib.metadata import version
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SETUPTOOLS = 77  # the first release that reads the SPDX licence expression of pyproject.toml

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        int(version("setuptools").partition(".")[0]) < SETUPTOOLS,
        reason=f"builds without network, for which setuptools {SETUPTOOLS} must be installed",
    ),
]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built without network from a copy of the package.

    The build leaves files beside its source, and a copy of the checkout may have no git.
    """
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    shutil.copytree(
        ROOT / "vprtrain", source / "vprtrain", ignore=shutil.ignore_patterns("__pycache__")
    )
    for name in ("pyproject.toml", "MANIFEST.in", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    command = [sys.executable, "-m", "pip", "wheel", "--no-build-isolation", "--no-deps"]
    command += [f"--wheel-dir={folder}", str(source)]
    built = subprocess.run(command, capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
    (found,) = folder.glob("*.whl")
    return found


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that holds the installed wheel, and nothing of the checkout."""
    target = tmp_path_factory.mktemp("installed")
    command = [sys.executable, "-m", "pip", "install", "--no-deps", f"--target={target}"]
    done = subprocess.run([*command, str(wheel)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return target


def vprtrain(installed: Path, folder: Path, *arguments: str) -> str:
    """Standard output of the installed command in a folder."""
    environment = {**os.environ, "PYTHONPATH": str(installed)}
    done = subprocess.run(
        [sys.executable, "-m", "vprtrain", *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_it_holds_the_package_with_its_data_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        (metadata,) = (name for name in names if name.endswith(".dist-info/METADATA"))
        text = archive.read(metadata).decode()
    package = ROOT / "vprtrain"
    expected = {
        str(path.relative_to(ROOT))
        for pattern in ("*.py", "*.pyi", "py.typed", "*.yaml", "serving/page/*")
        for path in package.rglob(pattern)
    }
    assert {name for name in names if ".dist-info/" not in name} == expected
    assert {"vprtrain/py.typed", "vprtrain/recipes/own/campplus.yaml"} < expected
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in names)
    assert "\nLicense-Expression: Apache-2.0\n" in text
    required = [line for line in text.splitlines() if line.startswith("Requires-Dist: ")]
    (paddle,) = (line for line in required if "paddlepaddle" in line)
    assert paddle.endswith('extra == "cpu"')


def test_it_knows_its_version(installed: Path, tmp_path: Path) -> None:
    from vprtrain.version import __version__

    assert vprtrain(installed, tmp_path, "--version") == f"vprtrain {__version__}\n"


@pytest.mark.parametrize("recipe", ["cnceleb", "voxceleb", "own"])
def test_every_recipe_has_its_configuration(installed: Path, tmp_path: Path, recipe: str) -> None:
    printed = vprtrain(installed, tmp_path, "fit", f"--recipe={recipe}", "--print_config")
    assert "class_path: vprtrain.models.CAMPPlus" in printed
    assert list(tmp_path.iterdir()) == []
