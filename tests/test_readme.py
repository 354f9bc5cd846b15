"""What the READMEs tell a reader to type works."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from vprtrain import recipe
from vprtrain.config import CommandParser

ROOT = Path(__file__).parents[1]
TEXTS = {
    path: path.read_text()
    for path in (ROOT / "README.md", ROOT / "README.zh-CN.md", ROOT / "recipes/cnceleb/README.md")
}


def blocks(text, language):
    return re.findall(rf"```{language}\n(.*?)```", text, flags=re.DOTALL)


def commands(name):
    """The arguments of every ``run.py NAME`` in the READMEs."""
    lines = [
        line
        for text in TEXTS.values()
        for block in blocks(text, "bash")
        for line in block.replace("\\\n", "").splitlines()
    ]
    program = "python recipes/cnceleb/run.py "
    return {line.removeprefix(program + name).strip() for line in lines if line.startswith(program + name)}


def test_the_python_example_runs(tmp_path):
    (example,) = blocks(TEXTS[ROOT / "README.md"], "python")
    done = subprocess.run([sys.executable, "-c", example], cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "FitResult(stopped_by='max_epochs', epoch=3, step=300" in done.stdout
    assert (tmp_path / "sums" / "last_model" / "model.state").is_file()


@pytest.mark.parametrize("arguments", sorted(commands("fit")))
def test_fit_takes_the_options_it_is_said_to(arguments):
    parser = CommandParser(prog="fit")
    recipe.add_fit_options(parser)
    try:
        parser.parse_args([f"--config={ROOT / 'recipes/cnceleb/campplus.yaml'}", *shlex.split(arguments)])
    except SystemExit as ended:  # --help and --print_config
        assert ended.code == 0


@pytest.mark.parametrize("arguments", sorted(commands("validate")))
def test_validate_takes_the_options_it_is_said_to(arguments):
    parser = CommandParser(prog="validate")
    recipe.add_validate_options(parser)
    assert parser.parse_args(shlex.split(arguments)).checkpoint == "models/CAMPPlus_Fbank"


def test_both_languages_give_the_same_commands():
    english, chinese = (blocks(TEXTS[ROOT / name], "bash") for name in ("README.md", "README.zh-CN.md"))
    assert english == chinese
