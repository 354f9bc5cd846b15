"""All models: the number of trained parameters, and every model with every pooling."""

from __future__ import annotations

from collections.abc import Callable
from typing import get_args

import numpy as np
import paddle
import pytest
from reference_weights import FRAMES
from small_encoders import ENCODERS, MELS, embedded, made_uneven, random_features

from vprtrain import models
from vprtrain.models import (
    TDNN,
    CAMPPlus,
    DFResNet,
    EcapaTdnn,
    ERes2Net,
    ERes2NetV2,
    PPVectorRes2Net,
    RepVGG,
    Res2Net,
    ResNet,
    ResNet34,
    ResNetSE,
    SpeakerEncoder,
)
from vprtrain.models.pooling import PoolingName

# With 80 mels and without a classifier.
TRAINED_PARAMETERS: list[tuple[int, Callable[[], SpeakerEncoder]]] = [
    (6_848_544, CAMPPlus),
    (7_176_224, lambda: CAMPPlus(embedding_dim=512)),
    (6_194_048, EcapaTdnn),
    (20_767_552, lambda: EcapaTdnn(channels=1024)),
    (6_610_688, ERes2Net),
    (9_887_808, lambda: ERes2Net(embedding_dim=512)),
    (22_462_784, lambda: ERes2Net(channels=64)),
    (29_016_704, lambda: ERes2Net(channels=64, embedding_dim=512)),
    (55_165_024, lambda: ERes2Net(channels=64, expansion=4, base_width=24, scale=3)),
    (17_859_632, ERes2NetV2),
    (4_033_600, Res2Net),
    (6_634_336, ResNet34),
    (4_105_440, lambda: ResNet(blocks=(2, 2, 2, 2))),
    (23_792_224, lambda: ResNet(block="bottleneck", blocks=(6, 16, 48, 3))),
    (28_626_016, lambda: ResNet(block="bottleneck", blocks=(10, 20, 64, 3))),
    (6_343_648, lambda: ResNet(embedding_dim=192, second_embedding=True)),
    (6_531_552, DFResNet),
    (6_833_792, RepVGG),
    (6_264_352, lambda: RepVGG(deploy=True)),
    (53_513_632, lambda: ERes2NetV2(base_width=24, scale=4, expansion=4)),
    (9_132_056, ResNetSE),
    (4_347_868, TDNN),
    # ppvector 1.0.2's
    (6_859_232, lambda: CAMPPlus(bias=True, affine=True)),
    (7_187_872, lambda: CAMPPlus(embedding_dim=512, bias=True, affine=True)),
    (6_620_128, lambda: ERes2Net(bias=True)),
    (22_481_664, lambda: ERes2Net(channels=64, bias=True)),
    (55_196_112, lambda: ERes2Net(channels=64, expansion=4, base_width=24, scale=3, bias=True)),
    (5_623_792, PPVectorRes2Net),
    (
        2_770_496,
        lambda: TDNN(
            embedding_dim=192,
            pooled_channels=512,
            pooling="ASP",
            affine=True,
            norm_after_pooling=True,
        ),
    ),
]


@pytest.mark.parametrize(
    ("count", "make"), TRAINED_PARAMETERS, ids=[f"{count:,}" for count, _ in TRAINED_PARAMETERS]
)
def test_trained_parameters(count: int, make: Callable[[], SpeakerEncoder]) -> None:
    with paddle.LazyGuard():  # shapes without values
        model = make()
    assert sum(p.size for p in model.parameters() if not p.stop_gradient) == count


def test_every_encoder_is_tested_here() -> None:
    assert {*ENCODERS, "SpeakerEncoder"} == set(models.__all__)


@pytest.mark.parametrize("pooling", get_args(PoolingName))
@pytest.mark.parametrize("name", ENCODERS)
def test_every_model_works_with_every_pooling(name: str, pooling: PoolingName) -> None:
    paddle.seed(1)
    model = made_uneven(ENCODERS[name](pooling=pooling))
    alone = {frames: random_features(1, frames, MELS, seed=frames) for frames in FRAMES}
    batch = np.full((len(FRAMES), max(FRAMES) + 5, MELS), 7.0, "float32")
    for row, frames in enumerate(FRAMES):
        batch[row, :frames] = alone[frames][0]
    expected = np.concatenate([embedded(model, features) for features in alone.values()])
    together = embedded(model, batch, list(FRAMES))
    np.testing.assert_allclose(together, expected, rtol=0, atol=1e-4 * np.abs(expected).max())

    model.train()
    parameters = [p for p in model.parameters() if not p.stop_gradient]
    for frames in FRAMES:
        embeddings = model(paddle.to_tensor(random_features(2, frames, MELS)))
        assert embeddings.shape == [2, model.embedding_dim]
        model.clear_gradients()
        paddle.square(embeddings).sum().backward()
        for parameter in parameters:
            assert parameter.grad is not None and paddle.isfinite(parameter.grad).all().item(), (
                parameter.name
            )
