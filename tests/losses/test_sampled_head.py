"""SampledCosineHead: the dense head's columns, for classes that depend on labels and key only."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import paddle
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vprtrain.callbacks import Checkpoint, ResumeStep
from vprtrain.checkpoint.links import LAST
from vprtrain.checkpoint.state_file import open_checkpoint
from vprtrain.engine import Adam, DataModule, Engine, Module
from vprtrain.errors import UsageError
from vprtrain.losses import (
    AAMLoss,
    AMLoss,
    ARMLoss,
    CELoss,
    CosineHead,
    SampledCosineHead,
    SpeakerLoss,
    SphereFace2Loss,
    SubCenterInterTopKLoss,
    SubCenterLoss,
    TripletAngularMarginLoss,
)

DIM, CLASSES = 6, 20
OF_COSINES = [
    AAMLoss(),
    AMLoss(),
    ARMLoss(),
    SphereFace2Loss(),
    SubCenterLoss(),
    SubCenterInterTopKLoss(),
]
every_loss = pytest.mark.parametrize("loss", OF_COSINES, ids=lambda loss: type(loss).__name__)


def two_heads(share: float, centers: int = 1) -> tuple[SampledCosineHead, CosineHead]:
    """A sampled head and a dense one with the same directions."""
    paddle.seed(1)
    sampled = SampledCosineHead(
        embedding_dim=DIM, num_classes=CLASSES, centers_per_class=centers, class_share=share
    )
    dense = CosineHead(embedding_dim=DIM, num_classes=CLASSES, centers_per_class=centers)
    dense.weight.set_value(sampled.centers.weight.t())
    return sampled, dense


def batch(size: int = 7) -> tuple[paddle.Tensor, np.ndarray]:
    rng = np.random.default_rng(0)
    embeddings = paddle.to_tensor(
        rng.standard_normal((size, DIM)).astype("float32"), stop_gradient=False
    )
    return embeddings, rng.integers(0, CLASSES, size)


def chosen_classes(head: SampledCosineHead, labels: np.ndarray, key: int) -> list[int]:
    head.sample(labels, key)
    return (
        head.centers.index.numpy()[:: head.centers_per_class] // head.centers_per_class
    ).tolist()


@every_loss
def test_with_all_classes_loss_and_gradients_are_the_dense_heads(loss: SpeakerLoss) -> None:
    sampled, dense = two_heads(1.0, loss.centers_per_class)
    embeddings, labels = batch()
    sampled.sample(labels, 5)
    value = loss(*sampled.training_scores(embeddings, paddle.to_tensor(labels)))
    value.backward()
    gradient = embeddings.grad.numpy()
    embeddings.clear_grad()
    expected = loss(*dense.training_scores(embeddings, paddle.to_tensor(labels)))
    expected.backward()
    assert value.item() == pytest.approx(expected.item(), rel=1e-6)
    np.testing.assert_allclose(gradient, embeddings.grad.numpy(), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(
        sampled.centers.active.grad.numpy(), dense.weight.grad.numpy().T, rtol=1e-4, atol=1e-6
    )


@every_loss
def test_a_step_sees_the_dense_heads_columns_of_the_sampled_classes(loss: SpeakerLoss) -> None:
    centers = loss.centers_per_class
    sampled, dense = two_heads(0.6, centers)
    embeddings, labels = batch()
    classes = chosen_classes(sampled, labels, 5)
    columns = [column for each in classes for column in range(each * centers, (each + 1) * centers)]
    scores, places = sampled.training_scores(embeddings, paddle.to_tensor(labels))
    np.testing.assert_allclose(scores.numpy(), dense(embeddings).numpy()[:, columns], atol=1e-6)
    assert np.array(classes)[places.numpy()].tolist() == labels.tolist()
    np.testing.assert_allclose(sampled(embeddings).numpy(), dense(embeddings).numpy(), atol=1e-6)


@given(
    labels=st.lists(st.integers(0, CLASSES - 1), min_size=1, max_size=30),
    key=st.integers(0, 2**63 - 1),
    share=st.floats(0.01, 1),
)
def test_all_classes_of_the_batch_are_sampled_and_others_up_to_the_share(
    labels: list[int], key: int, share: float
) -> None:
    head, _ = two_heads(share)
    classes = chosen_classes(head, np.array(labels), key)
    assert classes == sorted(set(classes)) and set(labels) <= set(classes) <= set(range(CLASSES))
    assert len(classes) == max(len(set(labels)), round(share * CLASSES))
    again, _ = two_heads(share)
    assert chosen_classes(again, np.array(labels[::-1]), key) == classes


def test_the_others_are_drawn_evenly() -> None:
    head, _ = two_heads(0.25)
    draws = [chosen_classes(head, np.array([0, 7, 7]), key) for key in range(1500)]
    counts = Counter(each for classes in draws for each in classes)
    assert counts.pop(0) == counts.pop(7) == 1500
    assert set(counts) == set(range(CLASSES)) - {0, 7}
    expected = 1500 * 3 / 18  # the standard deviation is 14.4
    assert all(abs(count - expected) < 75 for count in counts.values())


@every_loss
def test_a_loss_of_cosines_builds_it(loss: SpeakerLoss) -> None:
    head = loss.build_head(embedding_dim=DIM, num_classes=CLASSES, class_share=0.3)
    assert isinstance(head, SampledCosineHead) and head.samples
    assert head.centers.weight.shape == [CLASSES * loss.centers_per_class, DIM]


@pytest.mark.parametrize("loss", [CELoss(), TripletAngularMarginLoss()])
def test_losses_of_logits_refuse_it(loss: SpeakerLoss) -> None:
    with pytest.raises(UsageError, match=r"class_share is 0\.3, but this loss takes logits"):
        loss.build_head(embedding_dim=DIM, num_classes=CLASSES, class_share=0.3)


@pytest.mark.parametrize("share", [0.0, -0.5, 1.5])
def test_a_share_is_above_0_and_at_most_1(share: float) -> None:
    with pytest.raises(UsageError, match="expected 0 < class_share <= 1"):
        AAMLoss().build_head(embedding_dim=DIM, num_classes=CLASSES, class_share=share)


class Classifier(Module):
    """A linear layer and a sampled head."""

    def __init__(self) -> None:
        super().__init__()
        paddle.seed(0)
        self.layer = paddle.nn.Linear(4, DIM)
        self.loss = AAMLoss()
        self.head = self.loss.build_head(embedding_dim=DIM, num_classes=CLASSES, class_share=0.4)

    def on_step_start(self, batches: list, key: int) -> None:
        self.head.sample(np.concatenate([labels for _, labels in batches]), key)

    def training_step(self, batch: tuple) -> tuple:
        inputs, labels = map(paddle.to_tensor, batch)
        return self.loss(*self.head.training_scores(self.layer(inputs), labels)), {}


class Noise(DataModule):
    steps_per_epoch = 7

    def train_batches(self, epoch: int, start: int):
        for step in range(start, self.steps_per_epoch):
            rng = np.random.default_rng([epoch, step])
            yield rng.standard_normal((3, 4)).astype("float32"), rng.integers(0, CLASSES, 3)

    def fingerprint(self) -> dict:
        return {}


def train(run_dir: Path, *, max_time: float | None = None) -> int:
    """Train with micro-batches, clipping and decay. Each reading of the clock advances it by a
    second; ``max_time`` is in hours."""
    ticks = iter(range(1_000_000))
    engine = Engine(
        run_dir=run_dir,
        optimizer=Adam(learning_rate=0.05, weight_decay=0.01),
        callbacks=[ResumeStep(), Checkpoint()],
        max_epochs=3,
        accumulate=2,
        clip_norm=0.5,
        max_time=max_time,
        clock=lambda: float(next(ticks)),
    )
    return engine.fit(Classifier(), Noise()).step


def test_a_resumed_run_samples_and_ends_as_one_that_was_not_stopped(tmp_path: Path) -> None:
    """G1 with sampled classes, which are a function of the step."""
    total = train(tmp_path / "straight")
    steps = [0]
    while steps[-1] < total:
        steps.append(train(tmp_path / "stopped", max_time=0.005))
        assert steps[-1] > steps[-2]
    assert len(steps) > 3
    straight, stopped = (
        open_checkpoint(tmp_path / name / LAST).state.files for name in ("straight", "stopped")
    )
    assert {"model.pdparams", "optimizer.pdopt"} <= straight.keys()
    assert straight == stopped
