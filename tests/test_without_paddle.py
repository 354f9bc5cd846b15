"""With no Paddle installed, exported ONNX models can be used, and whatever needs Paddle ends in one
line that says what to install."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
import soundfile
from service import wav
from small_checkpoint import voice, write_checkpoint

from vprtrain import Predictor
from vprtrain.checkpoint.state_file import open_checkpoint
from vprtrain.extractors import export

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
        "launch --nprocs=2 -- vprtrain fit --recipe=cnceleb",
    ],
)
def test_a_command_that_needs_it_says_what_to_install(tmp_path: Path, arguments: str) -> None:
    (tmp_path / "people.db").touch()
    done = python(COMMAND, tmp_path, *arguments.split())
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"error: {MESSAGE}\n"
    assert [path.name for path in tmp_path.iterdir()] == ["people.db"]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a checkpoint, its ONNX export in two forms, and two recordings."""
    folder = tmp_path_factory.mktemp("models")
    saved = open_checkpoint(write_checkpoint(folder / "run", threshold=0.5))
    export(saved, folder / "onnx", format="onnx")
    export(saved, folder / "static", format="paddle")
    for name, seed in (("a.wav", 0), ("b.wav", 1)):
        soundfile.write(folder / name, voice(seed), 16000)
    return folder


def answer(folder: Path, arguments: str) -> dict[str, object]:
    """The JSON object that a command prints."""
    done = python(COMMAND, folder, *arguments.split(), "--json")
    assert (done.returncode, done.stderr) == (0, "")
    return json.loads(done.stdout)


def test_the_commands_work_with_an_onnx_model(models: Path) -> None:
    use = "--checkpoint=onnx"
    expected = Predictor(models / "run")
    embedded = answer(models, f"embed a.wav {use}")
    assert embedded["runtime"].startswith("onnxruntime ")
    first = expected.embed(models / "a.wav").tolist()
    assert embedded["embedding"] == pytest.approx(first, abs=1e-4 * max(map(abs, first)))
    compared = answer(models, f"contrast a.wav b.wav {use}")
    score = expected.contrast(models / "a.wav", models / "b.wav")
    assert compared["score"] == pytest.approx(score, abs=1e-4)
    assert answer(models, f"enroll Ann a.wav {use}") == {"user": "Ann", "recordings": 1}
    assert answer(models, "users")["users"] == ["Ann"]
    assert answer(models, f"identify a.wav {use}")["user"] == "Ann"


def test_the_service_works_with_an_onnx_model(models: Path, tmp_path: Path) -> None:
    arguments = [f"--checkpoint={models / 'onnx'}", "--port=0"]
    with subprocess.Popen(
        [sys.executable, "-c", COMMAND, "serve", *arguments],
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stderr is not None
            lines = iter(process.stderr.readline, "")
            url = next(found[0] for line in lines if (found := re.search(r"http://\S+", line)))
            recording = {"content": wav(voice(0)), "headers": {"Content-Type": "audio/wav"}}
            embedded = httpx.post(f"{url}/v1/embed", **recording, timeout=60).raise_for_status()
            assert len(embedded.json()["embedding"]) == 16
            process.send_signal(signal.SIGTERM)
            assert process.wait(60) == 128 + signal.SIGTERM
        finally:
            process.kill()


def test_an_onnx_model_is_used_without_slow_imports(models: Path) -> None:
    script = (
        "import sys\nfrom vprtrain.__main__ import main\nmain(sys.argv[1:])\n"
        "slow = {'paddle', 'sklearn', 'scipy', 'matplotlib', 'tensorboardX', 'librosa', 'onnx', "
        "'av', 'numpy.ma'}\n"
        "print(sorted(slow & sys.modules.keys()))"
    )
    done = python(script, models, *["contrast", "a.wav", "b.wav", "--checkpoint=onnx"])
    assert (done.stdout.splitlines()[-1], done.returncode) == ("[]", 0), done.stderr


@pytest.mark.parametrize("model", ["run", "static"])
@pytest.mark.parametrize(
    "command", ["contrast a.wav b.wav", "embed a.wav", "enroll Ann a.wav", "identify a.wav"]
)
def test_other_models_need_it(models: Path, tmp_path: Path, command: str, model: str) -> None:
    (tmp_path / "people.db").touch()
    options = [f"--checkpoint={models / model}"]
    if command.startswith(("enroll", "identify")):
        options.append("--voiceprints=people.db")
    done = python(COMMAND, tmp_path, *command.split(), *options)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"error: {MESSAGE}\n"
    assert not (tmp_path / "people.db").stat().st_size


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
