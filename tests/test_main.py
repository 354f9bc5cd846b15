"""The command ``vprtrain``."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from vprtrain.commands.main import COMMANDS, main
from vprtrain.version import __version__

ROOT = Path(__file__).resolve().parent.parent
STARTED = (
    "import sys\n"
    "from vprtrain.__main__ import main\n"
    "main(sys.argv[1:])\n"
    "print('paddle' in sys.modules)"
)


def test_the_overview_explains_every_command_without_importing_paddle() -> None:
    command = [sys.executable, "-c", STARTED, "--help"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=True)
    *shown, imported = done.stdout.splitlines()
    assert imported == "False"
    assert shown[0] == "usage: vprtrain COMMAND [OPTIONS]"
    for each in COMMANDS:
        assert any(
            line.startswith(f"  {each.__name__} ") and len(line.split()) > 3 for line in shown
        )


def test_it_is_installed_as_a_command() -> None:
    target = 'vprtrain = "vprtrain.__main__:console"'
    assert f"[project.scripts]\n{target}\n" in (ROOT / "pyproject.toml").read_text()
    done = subprocess.run(
        [sys.executable, "-c", "from vprtrain.__main__ import console; console()", "conver"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2
    assert (
        done.stderr
        == "error: unknown command 'conver': the closest is 'convert' (--help explains them)\n"
    )


def test_it_says_its_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"vprtrain {__version__}\n"


@pytest.mark.parametrize("module", ["jsonargparse", "vprtrain.commands.fit"])
def test_an_interruption_while_it_starts_shows_no_traceback(module: str) -> None:
    """Ctrl-C comes at the moment when the module is imported."""
    code = (
        "import os, signal, sys\n"
        "class Interrupt:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        f"        if name == {module!r}:\n"
        "            os.kill(os.getpid(), signal.SIGINT)\n"
        "from vprtrain.__main__ import console\n"
        "sys.meta_path.insert(0, Interrupt())\n"
        "console()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "prepare", "--help"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) in [(-signal.SIGINT, ""), (128 + signal.SIGINT, "")]
