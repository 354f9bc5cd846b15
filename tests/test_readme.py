"""The Python of the READMEs works, and both languages have the same commands.

test_docs.py parses the commands.
"""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TEXTS = {path: path.read_text() for path in (ROOT / "README.md", ROOT / "README.zh-CN.md")}


def blocks(text, language):
    return re.findall(rf"```{language}\n(.*?)```", text, flags=re.DOTALL)


def run_example(about, folder):
    """Run the one Python example of the README that has these words in it; what it prints."""
    (example,) = (block for block in blocks(TEXTS[ROOT / "README.md"], "python") if about in block)
    done = subprocess.run(
        [sys.executable, "-c", example], cwd=folder, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_engine_trains_the_example(tmp_path):
    assert "FitResult(stopped_by='max_epochs', epoch=3, step=300" in run_example(
        "class Regression", tmp_path
    )
    assert (tmp_path / "sums" / "last_model" / "model.state").is_file()


@pytest.mark.slow
def test_a_model_is_used_and_exported_as_shown(corpus, command_into, recipe, tmp_path):
    """By a network of a moment's training, which the scores that stand there are not of."""
    demo = tmp_path / "demo"
    assert recipe(*command_into(demo / "models", "--engine.max_epochs=2")).returncode == 0
    (demo / "corpus").symlink_to(corpus.parent)
    printed = run_example("predictor.register", tmp_path).splitlines()
    assert printed[3:] == ["(3, 16)", "['Ann', 'Bob'] True ['Ann']"]
    (export,) = (
        block for block in blocks(TEXTS[ROOT / "README.md"], "bash") if "vprtrain export" in block
    )
    _, *arguments = shlex.split(export)
    done = recipe(sys.executable, "-m", "vprtrain", *arguments, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    scores = [float(line) for line in run_example("Predictor(model)", tmp_path).splitlines()]
    assert scores == pytest.approx([scores[0]] * 3, abs=1e-5)
    assert run_example("import onnxruntime", tmp_path) == "(2, 16)\n"


def test_both_languages_give_the_same_commands():
    english, chinese = (
        blocks(TEXTS[ROOT / name], "bash") for name in ("README.md", "README.zh-CN.md")
    )
    assert english == chinese
