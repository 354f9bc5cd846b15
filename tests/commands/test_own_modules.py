"""``--import``: a user's own classes, from training to the use of the model."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from small_checkpoint import write_checkpoint

from vprtrain.checkpoint.state_file import open_checkpoint
from vprtrain.commands.own_modules import import_modules, split_import
from vprtrain.errors import CheckpointError, UsageError
from vprtrain.models import SpeakerEncoder
from vprtrain.speaker.state import SpeakerState
from vprtrain.spec import build

MINE = '''
import paddle
from paddle import nn

from vprtrain.layers import mean_over_frames
from vprtrain.models import SpeakerEncoder


class TinyNet(SpeakerEncoder):
    """One layer on each frame, and their mean."""

    def __init__(self, *, input_size: int = 80, embedding_dim: int = 8) -> None:
        super().__init__(input_size=input_size, embedding_dim=embedding_dim, min_frames=1)
        self.layer = nn.Conv1D(input_size, embedding_dim, 1)

    def encode(self, x: paddle.Tensor, lengths: paddle.Tensor | None) -> paddle.Tensor:
        return mean_over_frames(nn.functional.relu(self.layer(x)), lengths)
'''


@pytest.fixture
def clean_imports(monkeypatch):
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr(sys, "modules", dict(sys.modules))


@pytest.mark.slow
def test_an_own_model_goes_from_training_to_use(corpus, tmp_path):
    (tmp_path / "mine.py").write_text(MINE)

    def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        # The console script has its own folder on Python's path, not the working folder.
        start = "import sys; sys.path.remove(''); from vprtrain.__main__ import console; console()"
        return subprocess.run(
            [sys.executable, "-c", start, *arguments],
            cwd=tmp_path,
            env=os.environ | environment,
            capture_output=True,
            text=True,
            timeout=300,
        )

    def done(*arguments: str, **environment: str) -> str:
        process = run(*arguments, **environment)
        assert process.returncode == 0, process.stderr
        return process.stdout

    fit = (
        *("fit", "--recipe=cnceleb", "--config=demo", "--model=mine.TinyNet", "--device=cpu"),
        *(f"--data.train_manifest={corpus / 'train.tsv'}", "--data.batch_size=8"),
        *(f"--data.eval_manifest={corpus / 'eval.tsv'}", f"--data.trials={corpus / 'trials.txt'}"),
        *(f"--data.enroll={corpus / 'enroll.map'}", "--engine.max_steps=4"),
        *("--data.crop_seconds=0.6", "--callbacks=[ResumeStep,Checkpoint]"),
    )
    refused = run(*fit)
    assert refused.returncode == 2
    assert "add --import mine" in refused.stderr, refused.stderr

    trained = run(*fit, "--import", "mine")
    assert trained.returncode == 0, trained.stderr
    assert "model is TinyNet now; dropped of TDNN" in trained.stderr
    saved = open_checkpoint(tmp_path / "models" / "TinyNet_Fbank" / "best_model")
    assert saved.state.own["imports"] == ["mine"]
    assert "import" not in (saved.folder / "config.yaml").read_text()
    assert saved.state.own["model"]["init_args"] == {"input_size": 80, "embedding_dim": 8}

    again = run(*fit, VPRTRAIN_IMPORT="mine,json")  # what is imported may change in a resume
    assert again.returncode == 0, again.stderr

    checkpoint = "--checkpoint=models/TinyNet_Fbank"
    stranger = run("validate", checkpoint)
    assert stranger.returncode == 1
    assert "mine.TinyNet is not a known SpeakerEncoder" in stranger.stderr
    assert stranger.stderr.rstrip().endswith("add --import mine")

    mine = ("--import", "mine")
    assert 0 <= json.loads(done("validate", checkpoint, "--json", *mine))["eer"] <= 1
    done("export", checkpoint, "--out=exported", "--format=paddle", *mine)
    first, second = (line.split("\t")[1] for line in _lines(corpus / "eval.tsv")[:2])
    voices = (str(corpus / first), str(corpus / second))
    score = json.loads(done("contrast", *voices, checkpoint, "--json", VPRTRAIN_IMPORT="mine"))
    exported = json.loads(done("contrast", *voices, "--checkpoint=exported", "--json"))
    assert abs(score["score"] - exported["score"]) < 1e-3


def _lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines()


def test_a_stranger_s_checkpoint_imports_nothing(tmp_path, monkeypatch, clean_imports):
    (tmp_path / "trap.py").write_text("open('trapped', 'w').close()\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    spec = {"class_path": "trap.Net", "init_args": {}}
    with pytest.raises(CheckpointError, match=r"add --import trap$"):
        build(spec, SpeakerEncoder, "checkpoint", ["trap"])
    assert not (tmp_path / "trapped").exists()


@pytest.mark.parametrize(
    ("path", "imports", "end"),
    [
        ("package.mine.Net", [], "import its module first: add --import package.mine"),
        ("mine.Net", ["mine", "other"], ": add --import mine --import other"),
        ("__main__.Net", [], "import its module first"),
        ("mine; rm -rf ~.Net", [], "import its module first"),
        ("x" * 10_000 + ".Net", [], "import its module first"),
    ],
)
def test_the_option_to_add_is_a_module_s_name(path, imports, end):
    with pytest.raises(CheckpointError) as caught:
        build({"class_path": path, "init_args": {}}, SpeakerEncoder, "checkpoint", imports)
    assert str(caught.value).endswith(end)
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize("imports", ["mine", [1], ["a b"], ["x"] * 101, ["--out=/"], [""]])
def test_recorded_modules_are_checked(tmp_path, imports):
    saved = open_checkpoint(write_checkpoint(tmp_path / "step_1"))
    object.__setattr__(saved.state, "own", {**saved.state.own, "imports": imports})
    with pytest.raises(CheckpointError, match="its imports is"):
        SpeakerState.of(saved)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("no_such_module_here", "there is no module no_such_module_here in the working folder"),
        ("mine.py", "such as mine for mine.py"),
        ("../mine", "expected the name of a module"),
        ("lambda", "expected the name of a module"),
        ("raising", "it cannot be imported .ZeroDivisionError"),
        ("lacking", "it cannot be imported .ModuleNotFoundError: No module named 'absent_"),
    ],
)
def test_a_module_that_cannot_be_imported_is_one_line(
    tmp_path, monkeypatch, clean_imports, name, reason
):
    (tmp_path / "raising.py").write_text("1 / 0\n")
    (tmp_path / "lacking.py").write_text("import absent_in_any_case\n")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match=reason) as caught:
        import_modules([name])
    assert "\n" not in str(caught.value)


def test_modules_are_named_by_options_and_the_environment(tmp_path, monkeypatch, clean_imports):
    for name in ("one", "two", "three"):
        (tmp_path / f"{name}.py").write_text("")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("VPRTRAIN_IMPORT", " two, three,,one")
    modules, others = split_import(["--seed=1", "--import", "one", "x", "--import=two"])
    assert (modules, others) == (["one", "two"], ["--seed=1", "x"])
    assert import_modules(modules) == ["one", "two", "three"]
    with pytest.raises(UsageError, match="--import needs the name"):
        split_import(["--import"])
