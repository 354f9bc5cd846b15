"""The contract of every loss: finite values, float32, a fitting head, a margin that can be set."""

from __future__ import annotations

import math
from contextlib import nullcontext

import numpy as np
import paddle
import pytest
from fetches import forbid_fetches
from loss_checks import draw

from vprtrain import losses
from vprtrain.losses import (
    AAMLoss,
    AMLoss,
    ARMLoss,
    CELoss,
    MarginLoss,
    SpeakerLoss,
    SphereFace2Loss,
    SubCenterInterTopKLoss,
    SubCenterLoss,
    TripletAngularMarginLoss,
    margin_free_accuracy,
)
from vprtrain.spec import build

CLASSES = 7
LOSSES: dict[str, SpeakerLoss] = {
    "aam": AAMLoss(),
    "am": AMLoss(),
    "arm": ARMLoss(),
    "ce": CELoss(),
    "sub_center": SubCenterLoss(),
    "inter_top_k": SubCenterInterTopKLoss(),
    "sphereface2_a": SphereFace2Loss(margin_type="A"),
    "sphereface2_c": SphereFace2Loss(margin_type="C"),
    "triplet": TripletAngularMarginLoss(),
}
WITH_MARGIN = [name for name, loss in LOSSES.items() if isinstance(loss, MarginLoss)]
every_loss = pytest.mark.parametrize("loss", LOSSES.values(), ids=list(LOSSES))


def again(loss: SpeakerLoss, **changed: float) -> SpeakerLoss:
    """A new loss of the same class, with some options changed."""
    return type(loss)(**(loss.init_args | changed))


def columns(loss: SpeakerLoss) -> int:
    return loss.build_head(embedding_dim=8, num_classes=CLASSES)(paddle.ones([1, 8])).shape[1]


def examples(loss: SpeakerLoss, seed: int = 0) -> tuple[paddle.Tensor, paddle.Tensor]:
    cosines, labels = draw(seed, 5, columns(loss), CLASSES)
    return paddle.to_tensor(cosines), paddle.to_tensor(labels)


def test_no_loss_is_forgotten() -> None:
    families = {"SpeakerLoss", "MarginLoss", "MarginSoftmaxLoss"}
    offered = {name for name in losses.__all__ if name.endswith("Loss")} - families
    assert offered == {type(loss).__name__ for loss in LOSSES.values()}


@every_loss
@pytest.mark.parametrize("cosine", [1.0, -1.0, 1 + 1e-7, -1 - 1e-7, 1 - 1e-7])
@pytest.mark.parametrize("scale", [32.0, 96.0])
@pytest.mark.parametrize("margin", [0.0, 0.2, 0.5])
def test_finite_at_the_ends(loss: SpeakerLoss, cosine: float, scale: float, margin: float) -> None:
    wanted = {"scale": scale, "margin": margin}
    loss = again(loss, **{name: value for name, value in wanted.items() if name in loss.init_args})
    scores = paddle.full([3, columns(loss)], -cosine)
    scores[:, : columns(loss) // CLASSES] = cosine
    scores[2] = cosine
    scores.stop_gradient = False
    value = loss(scores, paddle.to_tensor([0, 1, 0]))
    value.backward()
    assert math.isfinite(value.item())
    assert np.isfinite(scores.grad.numpy()).all()
    assert all(np.isfinite(parameter.grad.numpy()).all() for parameter in loss.parameters())


@every_loss
def test_embeddings_along_a_class_have_a_finite_gradient(loss: SpeakerLoss) -> None:
    """The scores come from the loss's own head, where rounding gives cosines above 1."""
    paddle.seed(0)
    head = loss.build_head(embedding_dim=16, num_classes=30)
    embeddings = (3.0 * head.weight.detach().t()).clone()
    embeddings.stop_gradient = False
    labels = paddle.arange(len(embeddings)) // (len(embeddings) // 30)
    loss.objective(head(embeddings), labels, embeddings).backward()
    for gradient in (embeddings.grad, head.weight.grad):
        assert paddle.isfinite(gradient).all().item()


@every_loss
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_low_precision_is_computed_in_float32(loss: SpeakerLoss, dtype: str) -> None:
    scores, labels = examples(loss)
    scores = scores.astype(dtype)
    value = loss(scores, labels)
    assert value.dtype == paddle.float32
    assert value.item() == loss(scores.astype("float32"), labels).item()


@every_loss
def test_nothing_is_cast_under_autocast(loss: SpeakerLoss, monkeypatch: pytest.MonkeyPatch) -> None:
    """Paddle casts on a GPU only, so this test records that head and loss disable casts while they
    compute."""
    asked: list[bool] = []

    def auto_cast(*, enable: bool) -> nullcontext[None]:
        asked.append(enable)
        return nullcontext()

    embeddings, labels = paddle.randn([5, 8]), examples(loss)[1]
    head = loss.build_head(embedding_dim=8, num_classes=CLASSES)
    monkeypatch.setattr(paddle, "is_autocast_enabled", lambda: True)
    monkeypatch.setattr(paddle.amp, "auto_cast", auto_cast)
    scores = head(embeddings)
    assert asked == [False]
    loss(scores, labels)
    assert asked == [False, False]


@every_loss
def test_the_head_has_one_score_a_class(loss: SpeakerLoss) -> None:
    head = loss.build_head(embedding_dim=8, num_classes=CLASSES)
    scores = head(paddle.randn([5, 8]))
    assert scores.dtype == paddle.float32
    assert loss.class_scores(scores).shape == [5, CLASSES]
    assert (
        len(margin_free_accuracy(loss.class_scores(scores), paddle.zeros([5], "int64")).shape) == 0
    )


@every_loss
def test_a_larger_right_score_is_a_smaller_loss(loss: SpeakerLoss) -> None:
    """The accuracy does not depend on the margin, and the loss falls as the true class's score
    rises."""
    centers = columns(loss) // CLASSES
    values = []
    for right in (0.3, 0.6, 0.9):
        scores = paddle.full([2, columns(loss)], 0.5)
        scores[:, :centers] = right
        labels = paddle.zeros([2], "int64")
        assert margin_free_accuracy(loss.class_scores(scores), labels).item() == (right > 0.5)
        values.append(loss(scores, labels).item())
    assert values == sorted(values, reverse=True) and values[0] > values[-1]


@every_loss
def test_the_order_of_the_batch_does_not_matter(loss: SpeakerLoss) -> None:
    scores, labels = examples(loss)
    order = paddle.to_tensor([3, 0, 4, 2, 1])
    assert loss(scores[order], labels[order]).item() == pytest.approx(
        loss(scores, labels).item(), rel=1e-5
    )


@every_loss
def test_a_nan_stays_visible(loss: SpeakerLoss) -> None:
    """A NaN embedding makes all its scores NaN, and NanGuard must see this in the loss."""
    scores, labels = examples(loss)
    scores[1] = math.nan
    assert not math.isfinite(loss(scores, labels).item())


@every_loss
def test_the_host_does_not_wait_for_the_device(
    loss: SpeakerLoss, monkeypatch: pytest.MonkeyPatch
) -> None:
    scores, labels = examples(loss)
    scores.stop_gradient = False
    embeddings = paddle.randn([5, 8])
    forbid_fetches(monkeypatch)
    loss.objective(scores, labels, embeddings).backward()


@every_loss
def test_is_made_again_from_its_specification(loss: SpeakerLoss) -> None:
    made = build(loss.spec, SpeakerLoss, "here")
    scores, labels = examples(loss)
    assert type(made) is type(loss) and made.spec == loss.spec
    assert made(scores, labels).item() == loss(scores, labels).item()


@pytest.mark.parametrize("name", WITH_MARGIN)
def test_the_margin_is_set_while_training(name: str) -> None:
    loss = again(LOSSES[name], margin=0.0)
    scores, labels = examples(loss)
    embeddings = paddle.randn([5, 8])
    values = []
    for margin in (0.0, 0.1, 0.3):
        loss.margin = margin
        assert loss.margin == margin
        values.append(loss.objective(scores, labels, embeddings).item())
        assert (
            values[-1]
            == again(LOSSES[name], margin=margin).objective(scores, labels, embeddings).item()
        )
    assert len(set(values)) == 3
