"""The networks of :file:`reference_networks.py`, built by vprtrain."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

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
    ResNetSE,
    ResNetTDNN,
    SpeakerEncoder,
    WeSpeakerEcapaTdnn,
)

_SIZES: dict[str, Any] = {"input_size": 32, "embedding_dim": 16}
_RESIDUAL: dict[str, Any] = {**_SIZES, "blocks": (1, 1, 1, 1)}
_CAMPPLUS = partial(CAMPPlus, **_SIZES, growth_rate=8, init_channels=16)
_ECAPA = partial(EcapaTdnn, **_SIZES, channels=32, scale=4, se_channels=16, attention_channels=16)
_XVECTOR = partial(TDNN, **_SIZES, channels=32, pooled_channels=48)
_REPVGG = partial(RepVGG, **_RESIDUAL, widths=(16, 32, 64, 128))
_REDIMNET = partial(ReDimNet, **_SIZES, channels=8, group_width=2)

NETWORKS: dict[str, Callable[[], SpeakerEncoder]] = {
    "3dspeaker_campplus": partial(_CAMPPLUS, pooling_eps=1e-20),  # the reference adds nothing
    "3dspeaker_ecapa": _ECAPA,
    "3dspeaker_eres2net": partial(ERes2Net, **_RESIDUAL, channels=8),
    "3dspeaker_eres2netv2": partial(ERes2NetV2, **_RESIDUAL, channels=16),
    "3dspeaker_res2net": partial(Res2Net, **_RESIDUAL, channels=8),
    "3dspeaker_resnet": partial(
        ResNet, **_RESIDUAL, channels=8, second_embedding=True, pooling_eps=1e-8
    ),
    "3dspeaker_xvector": _XVECTOR,
    "ppvector_res2net": partial(PPVectorRes2Net, **{**_RESIDUAL, "input_size": 80}, channels=8),
    "ppvector_resnet_se": partial(ResNetSE, **_RESIDUAL, channels=8),
    "ppvector_tdnn": partial(
        TDNN, **_SIZES, pooled_channels=48, pooling="ASP", affine=True, norm_after_pooling=True
    ),
    "speechbrain_ecapa": _ECAPA,
    "speechbrain_resnet": partial(ResNetTDNN, **_RESIDUAL, channels=(8, 8, 16, 16)),
    "speechbrain_xvector": partial(
        _XVECTOR, padding="reflect", negative_slope=0.01, affine=True, pooling_eps=1e-10
    ),
    "wespeaker_campplus": partial(_CAMPPLUS, pooling_eps=1e-7),
    "wespeaker_df_resnet": partial(DFResNet, **_RESIDUAL, channels=8),
    "wespeaker_ecapa": partial(WeSpeakerEcapaTdnn, **_SIZES, channels=32),
    "wespeaker_eres2net": partial(ERes2Net, **_RESIDUAL, channels=8, pooling_eps=1e-7),
    "wespeaker_redimnet": partial(
        _REDIMNET, strides=(1, 2), blocks=(1, 1), expansions=(2, 1), reductions=(8, 16)
    ),
    "wespeaker_redimnet_se": partial(
        _REDIMNET,
        strides=(1, 2),
        blocks=(1, 1),
        expansions=(1, 1),
        reductions=(0, 16),
        block="basic_se",
    ),
    "wespeaker_repvgg": _REPVGG,
    "wespeaker_repvgg_se": partial(_REPVGG, squeeze_excitation=True, groups=2),
    "wespeaker_res2net": partial(Res2Net, **_RESIDUAL, channels=8, pooling_eps=1e-7),
    "wespeaker_resnet": partial(ResNet, **_RESIDUAL, channels=8),
    "wespeaker_simam_resnet": partial(
        ResNet, **_RESIDUAL, channels=8, block="simam", pooling="LASP", pooling_eps=1e-5
    ),
    "wespeaker_xi_vector": partial(_XVECTOR, pooling="XI", second_embedding=True),
    "wespeaker_xvec": partial(_XVECTOR, second_embedding=True, pooling_eps=1e-7),
}
"""Each toolkit's families, by the names of the figures in ``parity``."""
