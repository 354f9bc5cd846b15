"""Every encoder in a small size, for tests with many calls; every option that changes the graph is
covered."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import paddle

from vprtrain.models import (
    TDNN,
    CAMPPlus,
    DFResNet,
    EcapaTdnn,
    ERes2Net,
    ERes2NetV2,
    PPVectorRes2Net,
    ReDimNet,
    RepVGG,
    Res2Net,
    ResNet,
    ResNet34,
    ResNetSE,
    ResNetTDNN,
    SpeakerEncoder,
    WeSpeakerEcapaTdnn,
)

MELS = 20

_SIZES: dict[str, Any] = {"input_size": MELS, "embedding_dim": 16}
_CAMPPLUS = partial(
    CAMPPlus, **_SIZES, growth_rate=16, init_channels=16, head_channels=4, blocks=(1, 2, 1)
)
_ECAPA_TDNN = partial(
    EcapaTdnn, **_SIZES, channels=32, scale=4, se_channels=8, attention_channels=8
)
_TDNN = partial(TDNN, **_SIZES, channels=32, pooled_channels=48)
_WESPEAKER_ECAPA = partial(
    WeSpeakerEcapaTdnn, **_SIZES, channels=32, scale=4, se_channels=8, aggregated_channels=48
)
_REDIMNET = partial(
    ReDimNet,
    **_SIZES,
    channels=4,
    strides=(1, 2, 1),
    blocks=(1, 2, 1),
    expansions=(2, 1, 3),
    reductions=(4, 0, 5),
    group_width=2,
)
_RESIDUAL: dict[str, Any] = {**_SIZES, "blocks": (1, 2, 1, 1)}
_RESNET = partial(ResNet, **_RESIDUAL, channels=4)
_REPVGG = partial(RepVGG, **_RESIDUAL, widths=(4, 8, 8, 16))

ENCODERS: dict[str, Callable[..., SpeakerEncoder]] = {
    "CAMPPlus": _CAMPPLUS,
    "DFResNet": partial(DFResNet, **_RESIDUAL, channels=4),
    "EcapaTdnn": _ECAPA_TDNN,
    "ERes2Net": partial(ERes2Net, **_RESIDUAL, channels=8),
    "ERes2NetV2": partial(ERes2NetV2, **_RESIDUAL, channels=8),
    "PPVectorRes2Net": partial(PPVectorRes2Net, **_RESIDUAL, channels=4, scale=3),
    "ReDimNet": _REDIMNET,
    "RepVGG": _REPVGG,
    "Res2Net": partial(Res2Net, **_RESIDUAL, channels=4),
    "ResNet": _RESNET,
    "ResNet34": partial(ResNet34, **_RESIDUAL, channels=4),
    "ResNetSE": partial(ResNetSE, **_RESIDUAL, channels=4),
    "ResNetTDNN": partial(ResNetTDNN, **_RESIDUAL, channels=(4, 4, 8, 8)),
    "TDNN": _TDNN,
    "WeSpeakerEcapaTdnn": _WESPEAKER_ECAPA,
}
"""Each model of the zoo once. A keyword argument adds an option."""

VARIANTS: dict[str, Callable[..., SpeakerEncoder]] = {
    "ppvector's CAMPPlus": partial(_CAMPPLUS, bias=True, affine=True),
    "ppvector's ERes2Net": partial(
        ERes2Net, **_RESIDUAL, channels=8, second_embedding=True, bias=True, affine=True
    ),
    "ERes2Net huge": partial(
        ERes2Net, **_RESIDUAL, channels=8, expansion=4, base_width=24, scale=3
    ),
    "ResNet of bottlenecks": partial(_RESNET, block="bottleneck", second_embedding=True),
    "SimAM-ResNet": partial(_RESNET, block="simam", pooling="LASP", pooling_eps=1e-5),
    "DFResNet of two embeddings": partial(DFResNet, **_RESIDUAL, channels=4, second_embedding=True),
    "RepVGG, dilated and in groups": partial(_REPVGG, dilated=True, groups=2),
    "RepVGG with gates": partial(_REPVGG, squeeze_excitation=True),
    "RepVGG for use": partial(_REPVGG, deploy=True),
    "Res2Net of two embeddings": partial(
        Res2Net, **_RESIDUAL, channels=4, second_embedding=True, pooling_eps=1e-7
    ),
    "Res2Net of three parts": partial(Res2Net, **_RESIDUAL, channels=4, scale=3),
    "ReDimNet of basic blocks": partial(_REDIMNET, block="basic", second_embedding=True),
    "ReDimNet with gates": partial(
        _REDIMNET, block="basic_se", pooling_norm=True, embedding_norm=True
    ),
    "SpeechBrain's TDNN": partial(_TDNN, padding="reflect", negative_slope=0.01, affine=True),
    "WeSpeaker's TDNN": partial(_TDNN, second_embedding=True),
    "WeSpeakerEcapaTdnn without context": partial(
        _WESPEAKER_ECAPA, global_context=False, embedding_norm=True
    ),
    "xi-vector": partial(_WESPEAKER_ECAPA, pooling="XI"),
    "ppvector's TDNN": partial(_TDNN, pooling="ASP", affine=True, norm_after_pooling=True),
}


def made_uneven(model: SpeakerEncoder) -> SpeakerEncoder:
    """The model in evaluation mode, with batch normalisations and biases that are not neutral."""
    rng = np.random.default_rng(0)
    for name, value in model.state_dict().items():
        if name.endswith("._mean") or (name.endswith(".bias") and len(value.shape) == 1):
            value.set_value(rng.normal(0, 0.3, value.shape).astype("float32"))
        elif name.endswith("._variance"):
            value.set_value(rng.uniform(0.5, 1.5, value.shape).astype("float32"))
    model.eval()
    return model


def random_features(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype("float32")


def embedded(
    model: SpeakerEncoder, features: np.ndarray, lengths: list[int] | None = None
) -> np.ndarray:
    given = None if lengths is None else paddle.to_tensor(lengths, dtype="int64")
    with paddle.no_grad():
        return model(paddle.to_tensor(features), given).numpy()


class _FrameDropout(paddle.nn.Dropout):
    """Dropout in the place of a layer over frames."""

    def forward(self, x: paddle.Tensor, lengths: paddle.Tensor | None) -> paddle.Tensor:
        return super().forward(x)


class DropoutTDNN(TDNN):
    """A tiny x-vector network with dropout before the pooling: every step draws random numbers on
    the device."""

    def __init__(self) -> None:
        super().__init__(channels=8, pooled_channels=12, embedding_dim=8)
        self.frames.append(_FrameDropout(0.3))
