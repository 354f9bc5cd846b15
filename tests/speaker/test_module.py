"""The speaker module: validation, and checkpoints that it writes and reads."""

import numpy as np
import paddle
import pytest
import soundfile

from vprtrain.callbacks import Checkpoint, MarginSchedule
from vprtrain.checkpoint.state_file import open_checkpoint
from vprtrain.data.manifest import write_manifest
from vprtrain.engine import DataModule, Engine
from vprtrain.errors import CheckpointError, UsageError
from vprtrain.features import MFCC, Fbank, SpecAugment
from vprtrain.losses import (
    AAMLoss,
    AMLoss,
    ARMLoss,
    CELoss,
    SphereFace2Loss,
    SubCenterInterTopKLoss,
    SubCenterLoss,
    TripletAngularMarginLoss,
)
from vprtrain.models import TDNN
from vprtrain.scoring.metrics import compute_eer
from vprtrain.speaker.data import SpeakerBatch
from vprtrain.speaker.module import SpeakerModule
from vprtrain.speaker.trials import EvaluationBatch, TrialData


def tone(speaker, index, samples=4800):
    """Each voice is a pitch."""
    rng = np.random.default_rng([speaker, index])
    phase = 2 * np.pi * (150 + 90 * speaker) * np.arange(samples) / 16000
    return (
        np.sign(np.sin(phase + rng.uniform(0, 6))) * 0.2 + 0.01 * rng.standard_normal(samples)
    ).astype("float32")


class Tones(DataModule):
    steps_per_epoch = 6

    def train_batches(self, epoch, start):
        for batch in range(start, 6):
            labels = np.arange(8, dtype=np.int64) % 4
            yield SpeakerBatch(
                np.stack([tone(label, 100 * batch + i) for i, label in enumerate(labels)]), labels
            )

    def validation_batches(self):
        for speaker in range(4):
            keys = tuple(f"s{speaker}-{i}" for i in range(3))
            yield EvaluationBatch(keys, np.stack([tone(speaker, 1000 + i) for i in range(3)]))

    def fingerprint(self):
        return {}


@pytest.fixture
def evaluation(tmp_path):
    """Trials of all tones; each id is a recording."""
    recordings = []
    for batch in Tones().validation_batches():
        for key, waveform in zip(batch.keys, batch.waveforms, strict=True):
            soundfile.write(tmp_path / f"{key}.wav", np.tile(waveform, 2), 16000)
            recordings.append((key, f"{key}.wav", 0.6))
    write_manifest(tmp_path / "eval.tsv", recordings)
    trials = [f"s{a}-0 s{b}-{i} {int(a == b)}" for a in range(4) for b in range(4) for i in (1, 2)]
    (tmp_path / "trials.txt").write_text("\n".join(trials) + "\n")
    return TrialData(trials=tmp_path / "trials.txt", eval_manifest=tmp_path / "eval.tsv")


def make(evaluation=None, loss=None, class_share=1.0):
    paddle.seed(0)
    model = TDNN(channels=16, pooled_channels=16, embedding_dim=16)
    return SpeakerModule(
        model=model,
        feature=Fbank(mean_norm=True),
        loss=AAMLoss(margin=0.1) if loss is None else loss,
        num_classes=4,
        evaluation=evaluation,
        class_share=class_share,
    )


def test_learns_and_is_validated_by_its_trials(evaluation, tmp_path):
    module, trials = make(evaluation), evaluation.trials
    before = Engine().validate(module, evaluation)
    result = Engine(max_epochs=5, run_dir=tmp_path / "run", callbacks=[Checkpoint()]).fit(
        module, Tones()
    )
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
    assert result.metrics["eer"] == pytest.approx(
        compute_eer(np.array(scores), trials.targets)[0], abs=1e-6
    )


def test_a_checkpoint_makes_the_same_module_again(evaluation, tmp_path):
    module = make(evaluation)
    Engine(max_epochs=1, run_dir=tmp_path, callbacks=[Checkpoint()]).fit(module, Tones())
    saved = open_checkpoint(tmp_path / "best_model")
    assert saved.state.own["model"]["class_path"] == "vprtrain.models.TDNN"
    assert (
        saved.state.own["model"]["init_args"].items()
        >= {"input_size": 80, "embedding_dim": 16, "channels": 16}.items()
    )
    assert saved.state.own["feature"]["init_args"]["mean_norm"] is True
    assert saved.state.own["num_speakers"] == 4
    again = SpeakerModule.from_checkpoint(saved)
    module.eval()
    waveforms = np.stack([tone(1, 5), tone(2, 6)])
    np.testing.assert_array_equal(again.embed(waveforms).numpy(), module.embed(waveforms).numpy())


@pytest.mark.parametrize(
    "loss",
    [
        AMLoss,
        ARMLoss,
        SphereFace2Loss,
        SubCenterLoss,
        SubCenterInterTopKLoss,
        TripletAngularMarginLoss,
    ],
)
def test_every_loss_is_scheduled_trained_and_saved(tmp_path, loss):
    """Including the head and the loss's own parameters, such as SphereFace2's bias."""
    module = make(loss=loss(margin=0.4))
    before = {name: tensor.numpy().copy() for name, tensor in module.named_parameters()}
    schedule = MarginSchedule(initial=0.1, final=0.2, start_epoch=0.5, fix_epoch=0.5)
    Engine(
        max_epochs=1, validate_every="never", run_dir=tmp_path, callbacks=[schedule, Checkpoint()]
    ).fit(module, Tones())
    trained = [name for name in before if name.startswith(("head.", "loss."))]
    assert trained and all(
        (before[name] != module.state_dict()[name].numpy()).any() for name in trained
    )
    saved = open_checkpoint(tmp_path / "last_model")
    assert saved.state.own["margin"] == module.loss.margin == 0.2
    again = SpeakerModule.from_checkpoint(saved)
    assert type(again.loss) is loss
    for name, tensor in module.state_dict().items():
        np.testing.assert_array_equal(
            again.state_dict()[name].numpy(), tensor.numpy(), err_msg=name
        )


def test_sampled_classes_are_trained_saved_and_part_of_the_fingerprint(tmp_path):
    module = make(class_share=0.5)
    Engine(max_epochs=8, validate_every="never", run_dir=tmp_path, callbacks=[Checkpoint()]).fit(
        module, Tones()
    )
    saved = open_checkpoint(tmp_path / "last_model")
    assert saved.state.own["head"] == module.fingerprint()["head"] == {"class_share": 0.5}
    assert "head" not in make().fingerprint() and "head" not in make().state_keys()
    again = SpeakerModule.from_checkpoint(saved)
    np.testing.assert_array_equal(
        again.head.centers.weight.numpy(), module.head.centers.weight.numpy()
    )
    batch = next(Tones().train_batches(0, 0))
    cosines = again.head(again.embed(batch.waveforms)).numpy()
    assert (cosines.argmax(axis=1) == batch.labels).mean() > 0.5


@pytest.mark.parametrize(
    "head", [{"class_share": 0.0}, {"class_share": "all"}, {"share": 0.5}, [], "dense"]
)
def test_a_strangers_head_is_refused(tmp_path, head):
    Engine(max_steps=1, validate_every="never", run_dir=tmp_path, callbacks=[Checkpoint()]).fit(
        make(), Tones()
    )
    saved = open_checkpoint(tmp_path / "last_model")
    saved.state.own["head"] = head
    with pytest.raises(CheckpointError, match=r"its head is .* expected a class_share"):
        SpeakerModule.from_checkpoint(saved)


def test_the_embeddings_reach_the_loss():
    batch = next(Tones().train_batches(0, 0))
    values = {}
    for weight in (0.0, 1.0):
        values[weight], _ = make(
            loss=TripletAngularMarginLoss(absolute_weight=weight)
        ).training_step(batch)
    assert values[1.0].item() > values[0.0].item()


def test_a_loss_without_margin_has_none_to_schedule(tmp_path):
    module = make(loss=CELoss())
    with pytest.raises(
        UsageError,
        match="SpeakerModule or its loss has none; remove MarginSchedule",
    ):
        Engine(max_epochs=1, validate_every="never", callbacks=[MarginSchedule()]).fit(
            module, Tones()
        )
    with pytest.raises(UsageError, match=r"the margin 0\.2 cannot be set: CELoss has none"):
        module.margin = 0.2
    Engine(max_epochs=1, validate_every="never", run_dir=tmp_path, callbacks=[Checkpoint()]).fit(
        module, Tones()
    )
    saved = open_checkpoint(tmp_path / "last_model")
    assert saved.state.own["margin"] is None
    assert SpeakerModule.from_checkpoint(saved).margin is None


def test_accuracy_is_of_the_classes_not_of_their_centres():
    module = make(loss=SubCenterLoss(margin=0.5, centers_per_class=3))
    module.eval()
    module.at_log_point = True
    batch = next(Tones().train_batches(0, 0))
    # The last of the three centres of each utterance's class gets the utterance's direction.
    weight = module.head.weight.numpy()
    weight[:, np.arange(4) * 3 + 2] = module.embed(batch.waveforms).numpy()[:4].T
    module.head.weight.set_value(weight)
    first = SpeakerBatch(batch.waveforms[:4], batch.labels[:4])
    _, scalars = module.training_step(first)
    assert scalars["accuracy"].item() == 1.0


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ({"class_path": "os.system", "init_args": {}}, "os.system is not a known SpeakerEncoder"),
        (
            {"class_path": "vprtrain.losses.AAMLoss", "init_args": {}},
            "is not a known SpeakerEncoder",
        ),
        (
            {"class_path": "vprtrain.models.Nothing", "init_args": {}},
            "is not in this version of vprtrain",
        ),
        (
            {"class_path": "vprtrain.nowhere.TDNN", "init_args": {}},
            "is not in this version of vprtrain",
        ),
        ({"class_path": "vprtrain.models.TDNN", "init_args": {"depth": 3}}, "cannot be made"),
        ({"class_path": "antigravity.x", "init_args": {}}, "antigravity.x is not a known"),
        ({}, "expected class_path and init_args"),
    ],
)
def test_a_strangers_checkpoint_chooses_among_known_classes_only(tmp_path, spec, said):
    Engine(max_steps=1, validate_every="never", run_dir=tmp_path, callbacks=[Checkpoint()]).fit(
        make(), Tones()
    )
    saved = open_checkpoint(tmp_path / "last_model")
    saved.state.own["model"].clear()
    saved.state.own["model"].update(spec)
    with pytest.raises(CheckpointError, match=said):
        SpeakerModule.from_checkpoint(saved)


def test_masks_are_for_training_only_and_part_of_the_fingerprint():
    module = make()
    plain = module.fingerprint()
    module.spec_augment = SpecAugment(max_time_mask=30, prob=1.0)
    waveforms = np.stack([tone(1, 5), tone(2, 6)])
    module.model.eval()  # no batch statistics, so two passes differ by the masks only
    assert (module.embed(waveforms).numpy() != module.embed(waveforms).numpy()).any()
    module.eval()
    np.testing.assert_array_equal(
        module.embed(waveforms).numpy(), make_like(module).embed(waveforms).numpy()
    )
    assert plain["spec_augment"] is None
    assert module.fingerprint()["spec_augment"]["init_args"]["max_time_mask"] == 30


def make_like(module):
    """A module with the same weights and without masks."""
    plain = make()
    plain.set_state_dict(module.state_dict())
    plain.eval()
    return plain


def test_any_feature_is_remembered_by_a_checkpoint(tmp_path):
    module = SpeakerModule(
        model=TDNN(input_size=13, channels=8, pooled_channels=8, embedding_dim=8),
        feature=MFCC(n_mfcc=13, n_mels=40, mean_norm=True, variance_norm=True),
        loss=AAMLoss(),
        num_classes=4,
        spec_augment=SpecAugment(),
    )
    Engine(max_steps=1, validate_every="never", run_dir=tmp_path, callbacks=[Checkpoint()]).fit(
        module, Tones()
    )
    again = SpeakerModule.from_checkpoint(open_checkpoint(tmp_path / "last_model"))
    module.eval()
    waveforms = np.stack([tone(1, 5), tone(2, 6)])
    np.testing.assert_array_equal(again.embed(waveforms).numpy(), module.embed(waveforms).numpy())


def test_model_and_feature_must_fit():
    with pytest.raises(UsageError, match="the model takes 40 values per frame"):
        SpeakerModule(model=TDNN(input_size=40), feature=Fbank(), loss=AAMLoss(), num_classes=2)


def test_without_trials_there_is_nothing_to_validate():
    with pytest.raises(UsageError, match="give the data a trial list"):
        Engine().validate(make(), Tones())
