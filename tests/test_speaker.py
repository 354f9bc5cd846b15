"""The speaker module: what it validates, what it puts into a checkpoint, what it makes of one."""

import numpy as np
import paddle
import pytest
import soundfile

from vprtrain.callbacks import Checkpoint
from vprtrain.checkpoint.state_file import open_checkpoint
from vprtrain.data.manifest import write_manifest
from vprtrain.data.speaker_data import SpeakerBatch
from vprtrain.data.trial_data import EvaluationBatch, TrialData
from vprtrain.engine import DataModule, Engine
from vprtrain.errors import CheckpointError, UsageError
from vprtrain.features import Fbank
from vprtrain.losses import AAMLoss
from vprtrain.models import TDNN
from vprtrain.scoring.metrics import compute_eer
from vprtrain.speaker import SpeakerModule


def tone(speaker, index, samples=4800):
    """A voice stands for a pitch here."""
    rng = np.random.default_rng([speaker, index])
    phase = 2 * np.pi * (150 + 90 * speaker) * np.arange(samples) / 16000
    return (np.sign(np.sin(phase + rng.uniform(0, 6))) * 0.2 + 0.01 * rng.standard_normal(samples)).astype("float32")


class Tones(DataModule):
    steps_per_epoch = 6

    def train_batches(self, epoch, start):
        for batch in range(start, 6):
            labels = np.arange(8, dtype=np.int64) % 4
            yield SpeakerBatch(np.stack([tone(label, 100 * batch + i) for i, label in enumerate(labels)]), labels)

    def validation_batches(self):
        for speaker in range(4):
            keys = tuple(f"s{speaker}-{i}" for i in range(3))
            yield EvaluationBatch(keys, np.stack([tone(speaker, 1000 + i) for i in range(3)]))

    def fingerprint(self):
        return {}


@pytest.fixture
def evaluation(tmp_path):
    """Trials over all tones, each the recording of its own id."""
    recordings = []
    for batch in Tones().validation_batches():
        for key, waveform in zip(batch.keys, batch.waveforms, strict=True):
            soundfile.write(tmp_path / f"{key}.wav", np.tile(waveform, 2), 16000)
            recordings.append((key, f"{key}.wav", 0.6))
    write_manifest(tmp_path / "eval.tsv", recordings)
    trials = [f"s{a}-0 s{b}-{i} {int(a == b)}" for a in range(4) for b in range(4) for i in (1, 2)]
    (tmp_path / "trials.txt").write_text("\n".join(trials) + "\n")
    return TrialData(trials=tmp_path / "trials.txt", eval_manifest=tmp_path / "eval.tsv")


def make(evaluation=None):
    paddle.seed(0)
    model = TDNN(channels=16, pooled_channels=16, embedding_dim=16)
    return SpeakerModule(
        model=model, feature=Fbank(mean_norm=True), loss=AAMLoss(margin=0.1), num_speakers=4, evaluation=evaluation
    )


def test_learns_and_is_validated_by_its_trials(evaluation, tmp_path):
    module, trials = make(evaluation), evaluation.trials
    before = Engine().validate(module, evaluation)
    result = Engine(max_epochs=5, run_dir=tmp_path / "run", callbacks=[Checkpoint()]).fit(module, Tones())
    assert list(result.metrics) == ["eer", "min_dcf", "threshold"]
    assert result.metrics["eer"] <= before["eer"]
    assert result.metrics["eer"] < 0.2

    module.eval()
    embeddings = {
        key: embedding
        for batch in Tones().validation_batches()
        for key, embedding in zip(batch.keys, module.embed(batch.waveforms).numpy(), strict=True)
    }
    pairs = zip(trials.enroll, trials.test, strict=True)
    unit = {key: value / np.linalg.norm(value.astype(float)) for key, value in embeddings.items()}
    scores = [unit[trials.enroll_ids[a]] @ unit[trials.test_ids[b]] for a, b in pairs]
    assert result.metrics["eer"] == pytest.approx(compute_eer(np.array(scores), trials.targets)[0], abs=1e-6)


def test_a_checkpoint_makes_the_same_module_again(evaluation, tmp_path):
    module = make(evaluation)
    Engine(max_epochs=1, run_dir=tmp_path, callbacks=[Checkpoint()]).fit(module, Tones())
    saved = open_checkpoint(tmp_path / "best_model")
    assert saved.state["model"] == {
        "class_path": "vprtrain.models.TDNN",
        "init_args": {"input_size": 80, "embedding_dim": 16, "channels": 16, "pooled_channels": 16},
    }
    assert saved.state["feature"]["init_args"]["mean_norm"] is True
    assert saved.state["num_speakers"] == 4
    again = SpeakerModule.from_checkpoint(saved)
    module.eval()
    waveforms = np.stack([tone(1, 5), tone(2, 6)])
    np.testing.assert_array_equal(again.embed(waveforms).numpy(), module.embed(waveforms).numpy())


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ({"class_path": "os.system", "init_args": {}}, "os.system is not a known SpeakerEncoder"),
        ({"class_path": "vprtrain.losses.AAMLoss", "init_args": {}}, "is not a known SpeakerEncoder"),
        ({"class_path": "vprtrain.models.Nothing", "init_args": {}}, "is not a known SpeakerEncoder"),
        ({"class_path": "vprtrain.nowhere.TDNN", "init_args": {}}, "is not in this version of vprtrain"),
        ({"class_path": "vprtrain.models.TDNN", "init_args": {"depth": 3}}, "cannot be made"),
        ({"class_path": "antigravity.x", "init_args": {}}, "antigravity.x is not a known"),
        ({}, "expected class_path and init_args"),
    ],
)
def test_a_strangers_checkpoint_chooses_among_known_classes_only(tmp_path, spec, said):
    Engine(max_steps=1, validate_every="never", run_dir=tmp_path, callbacks=[Checkpoint()]).fit(make(), Tones())
    saved = open_checkpoint(tmp_path / "last_model")
    saved.state["model"].clear()
    saved.state["model"].update(spec)
    with pytest.raises(CheckpointError, match=said):
        SpeakerModule.from_checkpoint(saved)


def test_model_and_feature_must_fit():
    with pytest.raises(UsageError, match="the model takes 40 values a frame, the feature gives 80"):
        SpeakerModule(model=TDNN(input_size=40), feature=Fbank(), loss=AAMLoss(), num_speakers=2)


def test_without_trials_there_is_nothing_to_validate():
    with pytest.raises(UsageError, match="give the data a trial list"):
        Engine().validate(make(), Tones())
