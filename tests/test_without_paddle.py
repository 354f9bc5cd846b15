"""With no Paddle installed, whatever needs it ends in one line that says what to install."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
WITHOUT_PADDLE = """
import sys

class Absent:
    def find_spec(self, name, path, target=None):
        if name.partition(".")[0] == "paddle":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Absent())
"""
COMMAND = WITHOUT_PADDLE + "from vprtrain.__main__ import console\nconsole()\n"
MESSAGE = (
    "PaddlePaddle is not installed: pip install 'vprtrain[cpu]' for CPUs, or paddlepaddle-gpu 3.3 "
    "for GPUs"
)


def python(script: str, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The script in a process of its own."""
    return subprocess.run(
        [sys.executable, "-c", script, *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.mark.parametrize(
    "arguments",
    [
        "demo",
        "fit --recipe=cnceleb",
        "fit --recipe=own --print_config",
        "validate --checkpoint=run",
        "export --checkpoint=run",
        "average last-2 --out=mean",
        "convert --from=ppvector source out",
        "contrast a.wav b.wav --checkpoint=run",
        "embed a.wav --checkpoint=run",
        "enroll Ann a.wav --checkpoint=run",
        "identify a.wav --checkpoint=run --voiceprints=people.db",
        "launch --nprocs=2 -- vprtrain fit --recipe=cnceleb",
    ],
)
def test_a_command_that_needs_it_says_what_to_install(tmp_path: Path, arguments: str) -> None:
    (tmp_path / "people.db").touch()
    done = python(COMMAND, tmp_path, *arguments.split())
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"error: {MESSAGE}\n"
    assert [path.name for path in tmp_path.iterdir()] == ["people.db"]


@pytest.mark.parametrize("arguments", ["--help", "--version", "prepare --help", "score --help"])
def test_other_commands_work(tmp_path: Path, arguments: str) -> None:
    done = python(COMMAND, tmp_path, *arguments.split())
    assert done.returncode == 0 and "vprtrain" in done.stdout, done.stderr


@pytest.mark.parametrize("name", ["Engine", "Module", "Callback"])
def test_a_name_that_needs_it_is_an_import_error(tmp_path: Path, name: str) -> None:
    script = WITHOUT_PADDLE + f"try:\n    from vprtrain import {name}\n"
    done = python(script + "except ImportError as error:\n    print(error)\n", tmp_path)
    assert (done.stdout, done.stderr) == (f"{MESSAGE}\n", "")


def test_scores_and_voiceprints_need_no_paddle(tmp_path: Path) -> None:
    script = WITHOUT_PADDLE + (
        "from vprtrain.scoring import compute_eer\n"
        "from vprtrain.voiceprints.database import Voiceprints\n"
        "Voiceprints('people.db', model='m').close()\n"
        "print(compute_eer([0.9, 0.1], [1, 0])[0])\n"
    )
    done = python(script, tmp_path)
    assert (done.stdout, done.stderr) == ("0.0\n", "")
