"""From a folder of recordings to an EER, a report and a model in use, by the printed commands."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from vprtrain.data.manifest import read_recordings
from vprtrain.data.preparation.holding_out import _ids
from vprtrain.data.preparation.measuring import MeasuredUtterance
from vprtrain.recipes.own.recipe import OWN
from vprtrain.recipes.own.settings import fit_command, write_settings

# A small network and few steps; the rest is as the command that prepare prints.
QUICK = (
    *("--device=cpu", "--data.batch_size=32", "--data.crop_seconds=1.5"),
    *("--model.init_args.channels=32", "--model.init_args.pooled_channels=64"),
    *("--callbacks=[ResumeStep,EtaLogger,Checkpoint]", "--engine.max_steps=120"),
    *("--engine.validate_every=60 steps", "--data.speed_perturbation=null"),
    "--optimizer.init_args.learning_rate=0.005",
)


@pytest.mark.slow
def test_three_commands_from_a_folder_to_a_model_in_use(test_data, tmp_path, capsys) -> None:
    folder = test_data / "dev_pack" / "arabic_commands"
    if not folder.is_dir():
        pytest.skip(f"no real speech at {folder}")
    (tmp_path / "my voices").symlink_to(folder)

    def done(*command: str) -> subprocess.CompletedProcess[str]:
        assert command[0] == "vprtrain"
        process = subprocess.run(
            [sys.executable, "-m", *command],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=550,
        )
        assert process.returncode == 0, process.stderr
        return process

    prepared = done("vprtrain", "prepare", "--from=folder", "my voices", "--held_out=8")
    *_, gpu_title, on_gpu, cpu_title, on_cpu = prepared.stdout.splitlines()
    assert (gpu_title, cpu_title) == ("Next, on a GPU:", "or on a CPU, with a compact network:")
    short = ("--engine.fast_dev_run=1", "--data.batch_size=2", "--device=cpu")
    done(*shlex.split(on_gpu), *short)

    trained = done(*shlex.split(on_cpu), *QUICK)
    (result,) = trained.stdout.splitlines()
    assert result.startswith("cosine: eer ")
    run_dir = tmp_path / "models" / "TDNN_Fbank"
    (report,) = run_dir.glob("validation/*/trials/report.json")
    eer = json.loads(report.read_text())["eer"]
    assert report.with_suffix(".html").is_file()

    own, other = _two_speakers(tmp_path / "data" / "eval.tsv")
    same = json.loads(
        done("vprtrain", "contrast", *own, "--checkpoint=models/TDNN_Fbank", "--json").stdout
    )
    with capsys.disabled():
        print(f"\narabic_commands, 8 unseen speakers, 120 steps: EER {eer:.2%}; {same}")
    assert eer < 0.35
    different = done(
        "vprtrain", "contrast", own[0], other, "--checkpoint=models/TDNN_Fbank", "--json"
    )
    assert json.loads(different.stdout)["score"] < same["score"]


def _two_speakers(manifest: Path) -> tuple[tuple[str, str], str]:
    """Two recordings of one speaker, and one of another. The ids begin with the speaker."""
    recordings = read_recordings(manifest)
    first, second, *_ = recordings
    speaker = first.partition("/")[0]
    assert second.startswith(f"{speaker}/")
    other = next(key for key in recordings if not key.startswith(f"{speaker}/"))
    return (recordings[first].path, recordings[second].path), recordings[other].path


@pytest.mark.parametrize(
    ("utterances", "batch_size", "max_steps"),
    [(1, 1, 3000), (2, 2, 3000), (40, 8, 3000), (264, 64, 3000), (10_000, 64, None)],
)
def test_settings_fit_the_size_of_the_data(
    tmp_path, monkeypatch, utterances, batch_size, max_steps
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my data").mkdir()
    (tmp_path / "my data" / "musan.tsv").touch()
    write_settings(
        tmp_path / "my data",
        base=OWN.config_file("campplus"),
        utterances=utterances,
        trials=None,
        shards=False,
    )
    command = fit_command(tmp_path / "my data", "campplus", report=False)
    assert command == "vprtrain fit --recipe own --config campplus --config 'my data/fit.yaml'"
    settings = yaml.safe_load((tmp_path / "my data" / "fit.yaml").read_text(encoding="utf-8"))
    assert settings["data"]["train_manifest"] == "my data/train.tsv"
    assert settings["data"]["batch_size"] == batch_size
    assert settings["engine"].get("max_steps") == max_steps
    augmentations = [
        each["class_path"].rpartition(".")[2] for each in settings["data"]["augmentations"]
    ]
    assert augmentations == ["Volume", "AdditiveNoise"]
    callbacks = {each["class_path"].rpartition(".")[2]: each for each in settings["callbacks"]}
    assert "EarlyStopping" not in callbacks  # nothing is held out
    steps_per_epoch = utterances // batch_size
    total = max_steps or 60 * steps_per_epoch
    fix = callbacks["MarginSchedule"]["init_args"]["fix_epoch"] * steps_per_epoch
    assert fix == pytest.approx(total / 4, rel=0.01)


def test_ids_have_the_names_of_speakers_and_recordings() -> None:
    paths = {
        "/wav/ann/a.wav": "ann/a.wav",
        "/wav/ann/one two/a.wav": "ann/one_two/a.wav",
        "/wav/ann/one_two/a.wav": "ann/one_two/a.wav~2",
        "/elsewhere/b.wav": "ann/b.wav",
        "/other/b.wav": "ann/b.wav~2",
    }
    assert _ids([MeasuredUtterance(path, "ann", 1.0) for path in paths]) == list(paths.values())
