"""Averaged checkpoints: exact means, one model only, documented statistics of batch norm."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import paddle
import pytest
import soundfile

from vprtrain.callbacks import Checkpoint
from vprtrain.checkpoint.file_names import MODEL_FILE
from vprtrain.checkpoint.state_file import open_checkpoint
from vprtrain.checkpoint.store import Store
from vprtrain.commands import program
from vprtrain.commands.average import average
from vprtrain.data.manifest import write_manifest
from vprtrain.engine import DataModule, Engine
from vprtrain.errors import UsageError
from vprtrain.features import Fbank
from vprtrain.losses import AAMLoss
from vprtrain.models import TDNN
from vprtrain.speaker.averaging import choose_checkpoints, reestimate_batch_norm
from vprtrain.speaker.data import SpeakerBatch
from vprtrain.speaker.module import SpeakerModule

main = program.choose(average, description="", prog="vprtrain")


def waveforms(seed: int) -> np.ndarray:
    return (np.random.default_rng(seed).standard_normal((4, 8000)) * 0.1).astype("float32")


class Noise(DataModule):
    steps_per_epoch = 2

    def train_batches(self, epoch, start):
        for number in range(start, 2):
            yield SpeakerBatch(waveforms(10 * epoch + number), np.arange(4))

    def fingerprint(self):
        return {}


def module(channels: int = 8, class_share: float = 1.0) -> SpeakerModule:
    paddle.seed(0)
    model = TDNN(channels=channels, pooled_channels=8, embedding_dim=8)
    return SpeakerModule(
        model=model, feature=Fbank(), loss=AAMLoss(), num_classes=4, class_share=class_share
    )


def fitted(run_dir: Path, channels: int = 8, class_share: float = 1.0) -> Path:
    engine = Engine(
        run_dir=run_dir, max_epochs=3, validate_every="never", callbacks=[Checkpoint(keep=9)]
    )
    engine.fit(module(channels, class_share), Noise())
    return run_dir


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory) -> Path:
    """A run with three generations."""
    return fitted(tmp_path_factory.mktemp("averaged") / "run")


def test_the_mean_of_the_newest(
    run_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "mean"
    assert (
        program.status(
            main, ["average", "last-2", f"--checkpoint={run_dir}", f"--out={out}", "--json"]
        )
        == 0
    )
    assert json.loads(capsys.readouterr().out) == {"path": str(out)}
    saved = open_checkpoint(out)
    sources = [
        open_checkpoint(run_dir / name).arrays(MODEL_FILE) for name in ("epoch_2", "epoch_3")
    ]
    means = saved.arrays(MODEL_FILE)
    assert means.keys() == sources[0].keys()
    for name, value in means.items():
        exact = np.mean([source[name] for source in sources], axis=0, dtype=np.float64)
        np.testing.assert_array_equal(value, exact.astype("float32"), err_msg=name)
    assert any((means[name] != sources[1][name]).any() for name in means if name.endswith("._mean"))
    assert saved.state.extra["averaged_from"]["checkpoints"] == ["epoch_2", "epoch_3"]
    assert saved.state.extra["averaged_from"]["batch_norm"] == "averaged"
    assert saved.state.metrics["eer"] is None and saved.state.metrics["threshold"] is None
    assert SpeakerModule.from_checkpoint(saved).num_classes == 4


def test_a_list_by_name_and_path_each_once(
    run_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = f"epoch_3,epoch_1,{run_dir / 'last_model'}"
    assert (
        program.status(
            main, ["average", names, f"--checkpoint={run_dir}", f"--out={tmp_path / 'mean'}"]
        )
        == 0
    )
    assert (
        "the mean of epoch_1, epoch_3; batch normalisation statistics averaged"
        in capsys.readouterr().out
    )


def test_the_mean_of_one_is_itself(run_dir: Path, tmp_path: Path) -> None:
    assert (
        program.status(
            main, ["average", "last-1", f"--checkpoint={run_dir}", f"--out={tmp_path / 'one'}"]
        )
        == 0
    )
    digests = [
        open_checkpoint(folder).state.files[MODEL_FILE]
        for folder in (tmp_path / "one", run_dir / "epoch_3")
    ]
    assert digests[0] == digests[1]


def test_estimated_statistics_are_the_means_over_the_batches() -> None:
    estimated, expected = module(), module()
    batches = [SpeakerBatch(waveforms(seed), np.arange(4)) for seed in range(3)]
    assert reestimate_batch_norm(estimated, batches) == 3
    assert not estimated.training
    # Paddle's running mean starts from the old value; with momentum 0 it is the statistic of each
    # batch.
    norms = [
        layer
        for layer in expected.sublayers()
        if isinstance(layer, paddle.nn.layer.norm._BatchNormBase)
    ]
    assert norms
    expected.train()
    seen: list[dict[str, np.ndarray]] = []
    for norm in norms:
        norm._momentum = 0.0
    for batch in batches:
        expected.embed(batch.waveforms)
        seen.append({name: value.numpy() for name, value in expected.state_dict().items()})
    for name, value in estimated.state_dict().items():
        if name.endswith(("._mean", "._variance")):
            np.testing.assert_allclose(
                value.numpy(), np.mean([each[name] for each in seen], axis=0), rtol=1e-4, atol=1e-5
            )
    with pytest.raises(UsageError, match="no batch"):
        reestimate_batch_norm(estimated, [])


def test_statistics_are_estimated_from_a_manifest(run_dir: Path, tmp_path: Path) -> None:
    for number, waveform in enumerate(waveforms(0)):
        soundfile.write(tmp_path / f"{number}.wav", waveform, 16000)
    write_manifest(
        tmp_path / "train.tsv", [(f"{number}.wav", f"s{number % 2}", 0.5) for number in range(4)]
    )
    arguments = [
        "average",
        "last-3",
        f"--checkpoint={run_dir}",
        f"--manifest={tmp_path / 'train.tsv'}",
    ]
    arguments += ["--batches=2", "--batch_size=2", "--crop_seconds=0.5"]
    assert program.status(main, [*arguments, f"--out={tmp_path / 'new'}"]) == 0
    assert program.status(main, [*arguments[:3], f"--out={tmp_path / 'plain'}"]) == 0
    new, plain = (open_checkpoint(tmp_path / name).arrays(MODEL_FILE) for name in ("new", "plain"))
    statistics = {name for name in new if name.endswith(("._mean", "._variance"))}
    assert statistics
    assert {name for name in new if (new[name] != plain[name]).any()} == statistics
    assert (
        open_checkpoint(tmp_path / "new").state.extra["averaged_from"]["batch_norm"]
        == "re-estimated"
    )


def test_a_head_that_samples_classes_is_averaged_too(tmp_path: Path) -> None:
    run_dir = fitted(tmp_path / "run", class_share=0.5)
    assert (
        program.status(
            main, ["average", "last-2", f"--checkpoint={run_dir}", f"--out={tmp_path / 'mean'}"]
        )
        == 0
    )
    assert SpeakerModule.from_checkpoint(open_checkpoint(tmp_path / "mean")).class_share == 0.5


def test_other_models_and_impossible_requests_are_refused(
    run_dir: Path, tmp_path: Path, capsys
) -> None:
    other = fitted(tmp_path / "other", channels=16)

    def said(*arguments: str) -> str:
        assert program.status(main, ["average", *arguments]) == 2
        return capsys.readouterr().err

    mean = f"--out={tmp_path / 'mean'}"
    assert "has 3 generations" in said("last-4", f"--checkpoint={run_dir}", mean)
    assert "expected last-N" in said("last-x", f"--checkpoint={run_dir}", mean)
    assert "has another model than" in said(f"{run_dir / 'epoch_3'},{other / 'epoch_3'}", mean)
    assert "is not a checkpoint" in said("nowhere", mean)
    assert "--batches is -1: expected 1 or more" in said(
        "last-2", f"--checkpoint={run_dir}", mean, "--batches=-1"
    )
    assert "give a new folder" in said("last-2", f"--checkpoint={run_dir}", f"--out={tmp_path}")
    assert "has the name of a generation" in said(
        "last-2", f"--checkpoint={run_dir}", f"--out={run_dir / 'epoch_9'}"
    )
    assert not (tmp_path / "mean").exists()
    assert len(Store(run_dir).generations()) == 3
    assert [saved.folder.name for saved in choose_checkpoints(["last-2"], run_dir)] == [
        "epoch_2",
        "epoch_3",
    ]
