"""The encoders against stored parameter counts and embeddings of the public implementations.

Each JSON file holds the names and shapes of a reference's state dict, its number of trained
parameters, and its embeddings in evaluation mode. Weights and inputs are computed from names and
shapes (``reference_weights.py``). Newer files were computed in float64 and say how far the
reference's own float32 is from that (``float32_error``). At the end the tests print a table; the
whole one with ``pytest -n 0 -m "slow or not slow" tests/parity``.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import paddle
import pytest
from printed_table import printed_at_end
from reference_weights import FRAMES, reference_features, reference_weights

from vprtrain.conversion.reference import state_from_reference
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
from vprtrain.models.redimnet import REDIMNET_SIZES

BOTTLENECKS = {
    "resnet50": (3, 4, 6, 3),
    "resnet101": (3, 4, 23, 3),
    "resnet152": (3, 8, 36, 3),
    "resnet221": (6, 16, 48, 3),
    "resnet293": (10, 20, 64, 3),
}
SIMAM: dict[str, Any] = {
    "block": "simam",
    "channels": 64,
    "pooling": "LASP",
    "pooling_eps": 1e-5,
}
HUGE: dict[str, Any] = {"channels": 64, "expansion": 4, "base_width": 24, "scale": 3}
RESIDUAL: dict[str, Callable[[], SpeakerEncoder]] = {
    "3dspeaker_eres2net_huge": lambda: ERes2Net(**HUGE),
    "3dspeaker_eres2netv2_w24s4ep4": lambda: ERes2NetV2(base_width=24, scale=4, expansion=4),
    "3dspeaker_resnet34": lambda: ResNet(
        embedding_dim=192, second_embedding=True, pooling_eps=1e-8
    ),
    "wespeaker_df_resnet60": lambda: DFResNet(blocks=(3, 3, 9, 3)),
    "wespeaker_df_resnet60_astp_two": lambda: DFResNet(
        blocks=(3, 3, 9, 3), pooling="ASTP", second_embedding=True
    ),
    "wespeaker_df_resnet114": lambda: DFResNet(),
    "wespeaker_df_resnet183": lambda: DFResNet(blocks=(3, 8, 45, 3)),
    "wespeaker_df_resnet237": lambda: DFResNet(blocks=(3, 8, 63, 3)),
    "wespeaker_eres2net34_aug": lambda: ERes2Net(**HUGE, pooling_eps=1e-7),
    "wespeaker_eres2net34_base": lambda: ERes2Net(embedding_dim=512, pooling_eps=1e-7),
    "wespeaker_repvgg_a0": lambda: RepVGG(widths=(48, 96, 192, 1280), blocks=(2, 4, 14, 1)),
    "wespeaker_repvgg_b1g4": lambda: RepVGG(
        widths=(128, 256, 512, 2048), blocks=(4, 6, 16, 1), groups=4
    ),
    "wespeaker_repvgg_d2se": lambda: RepVGG(
        widths=(160, 320, 640, 2560), blocks=(8, 14, 24, 1), groups=4, squeeze_excitation=True
    ),
    "wespeaker_repvgg_tiny_a0": lambda: RepVGG(),
    "wespeaker_repvgg_tiny_a0_deploy": lambda: RepVGG(deploy=True),
    "wespeaker_repvgg_tiny_rsbb_a0": lambda: RepVGG(dilated=True),
    "wespeaker_repvgg_tiny_rsbb_a0_deploy": lambda: RepVGG(dilated=True, deploy=True),
    "wespeaker_res2net34_base": lambda: Res2Net(embedding_dim=256, pooling_eps=1e-7),
    "wespeaker_res2net34_large_two": lambda: Res2Net(
        channels=64, embedding_dim=256, pooling_eps=1e-7, second_embedding=True
    ),
    "wespeaker_resnet18": lambda: ResNet(blocks=(2, 2, 2, 2)),
    "wespeaker_resnet34_astp": lambda: ResNet(pooling="ASTP"),
    "wespeaker_resnet34_mqmhastp": lambda: ResNet(pooling="MQMHA"),
    "wespeaker_resnet34_tap": lambda: ResNet(pooling="TAP"),
    "wespeaker_resnet34_tsdp": lambda: ResNet(pooling="TSDP"),
    "wespeaker_resnet34_two": lambda: ResNet(second_embedding=True),
    **{
        f"wespeaker_{name}": partial(ResNet, block="bottleneck", blocks=blocks)
        for name, blocks in BOTTLENECKS.items()
    },
    "wespeaker_resnet221_mqmhastp_two": lambda: ResNet(
        block="bottleneck", blocks=BOTTLENECKS["resnet221"], pooling="MQMHA", second_embedding=True
    ),
    "wespeaker_simam_resnet34": lambda: ResNet(**SIMAM),
    "wespeaker_simam_resnet100": lambda: ResNet(**SIMAM, blocks=(6, 16, 24, 3)),
}
REFERENCES: dict[str, Callable[[], SpeakerEncoder]] = {
    "campplus_192": lambda: CAMPPlus(embedding_dim=192),
    "campplus_512": lambda: CAMPPlus(embedding_dim=512),
    "ecapa_c512": lambda: EcapaTdnn(channels=512),
    "ecapa_c1024": lambda: EcapaTdnn(channels=1024),
    "eres2net_m32": lambda: ERes2Net(),
    "eres2net_m64": lambda: ERes2Net(channels=64),
    "eres2netv2": lambda: ERes2NetV2(),
    "res2net": lambda: Res2Net(),
    "resnet34_256": lambda: ResNet34(),
    "xvector_512": lambda: TDNN(),
    "redimnet_b2": lambda: ReDimNet(pooling_norm=True),
    "speechbrain_resnet": lambda: ResNetTDNN(),
    "speechbrain_xvector": lambda: TDNN(
        input_size=24, padding="reflect", negative_slope=0.01, affine=True, pooling_eps=1e-10
    ),
    "wespeaker_campplus_512": lambda: CAMPPlus(embedding_dim=512, pooling_eps=1e-7),
    "wespeaker_ecapa_c512": lambda: WeSpeakerEcapaTdnn(global_context=False),
    "wespeaker_ecapa_c512_emb_bn": lambda: WeSpeakerEcapaTdnn(
        global_context=False, embedding_norm=True
    ),
    "wespeaker_ecapa_c512_mqmhastp": lambda: WeSpeakerEcapaTdnn(pooling="MQMHA"),
    "wespeaker_ecapa_c512_tstp": lambda: WeSpeakerEcapaTdnn(pooling="TSTP"),
    "wespeaker_ecapa_c1024": lambda: WeSpeakerEcapaTdnn(channels=1024, global_context=False),
    "wespeaker_ecapa_glob_c512": lambda: WeSpeakerEcapaTdnn(),
    "wespeaker_ecapa_glob_c1024": lambda: WeSpeakerEcapaTdnn(channels=1024),
    "wespeaker_redimnet_b0": lambda: ReDimNet(**REDIMNET_SIZES["B0"]),
    "wespeaker_redimnet_b1": lambda: ReDimNet(**REDIMNET_SIZES["B1"]),
    "wespeaker_redimnet_b2": lambda: ReDimNet(),
    "wespeaker_redimnet_b3": lambda: ReDimNet(**REDIMNET_SIZES["B3"]),
    "wespeaker_redimnet_b4": lambda: ReDimNet(**REDIMNET_SIZES["B4"]),
    "wespeaker_redimnet_b5": lambda: ReDimNet(**REDIMNET_SIZES["B5"]),
    "wespeaker_redimnet_b6": lambda: ReDimNet(**REDIMNET_SIZES["B6"]),
    "wespeaker_xi_ecapa_c512": lambda: WeSpeakerEcapaTdnn(pooling="XI"),
    "wespeaker_xi_ecapa_c1024": lambda: WeSpeakerEcapaTdnn(channels=1024, pooling="XI"),
    "wespeaker_xi_xvec": lambda: TDNN(pooling="XI", second_embedding=True),
    "wespeaker_xvec_512": lambda: TDNN(second_embedding=True, pooling_eps=1e-7),
    **RESIDUAL,
    "ppvector_campplus_192": lambda: CAMPPlus(bias=True, affine=True),
    "ppvector_ecapa_c512": lambda: EcapaTdnn(),
    "ppvector_eres2net_192": lambda: ERes2Net(bias=True),
    "ppvector_res2net_192": lambda: PPVectorRes2Net(),
    "ppvector_resnet_se_192": lambda: ResNetSE(),
    "ppvector_tdnn_192": lambda: TDNN(
        embedding_dim=192, pooled_channels=512, pooling="ASP", affine=True, norm_after_pooling=True
    ),
}
LARGE = {
    "3dspeaker_eres2net_huge",
    "3dspeaker_eres2netv2_w24s4ep4",
    "eres2net_m64",
    "eres2netv2",
    "speechbrain_resnet",
    "wespeaker_df_resnet183",
    "wespeaker_df_resnet237",
    "wespeaker_ecapa_c1024",
    "wespeaker_eres2net34_aug",
    "wespeaker_eres2net34_base",
    "wespeaker_redimnet_b3",
    "wespeaker_redimnet_b4",
    "wespeaker_redimnet_b5",
    "wespeaker_redimnet_b6",
    "wespeaker_repvgg_b1g4",
    "wespeaker_repvgg_d2se",
    "wespeaker_res2net34_large_two",
    "wespeaker_resnet101",
    "wespeaker_resnet152",
    "wespeaker_resnet221",
    "wespeaker_resnet221_mqmhastp_two",
    "wespeaker_resnet293",
    "wespeaker_simam_resnet34",
    "wespeaker_simam_resnet100",
    "wespeaker_xi_ecapa_c1024",
}
"""Those that take ten seconds: with the marker ``slow``."""
TOLERANCE = 1e-4


class Row(NamedTuple):
    """One line of the table: the largest relative difference at each length and in a padded batch,
    and how far the reference's own float32 is from its float64 at most, where that was measured."""

    reference: str
    model: str
    parameters: int
    differences: list[float]
    float32: float | None

    def __str__(self) -> str:
        figures = "".join(f"{value:>9.1e}" for value in self.differences)
        own = "" if self.float32 is None else f"{self.float32:>9.1e}"
        return f"{self.reference:<38}{self.model:<20}{self.parameters:>12,}{figures}{own}"


@pytest.fixture(scope="module")
def rows(request: pytest.FixtureRequest) -> Iterator[list[Row]]:
    """The rows of a table that is printed at the end."""
    lengths = "".join(f"{frames:>9}" for frames in FRAMES)
    header = f"{'reference':<38}{'class':<20}{'parameters':>12}{lengths}   padded  float32"
    with printed_at_end(request, header) as rows:
        yield rows


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=pytest.mark.slow if name in LARGE else ()) for name in REFERENCES],
)
def test_embeddings_and_parameter_count_equal_the_reference(name: str, rows: list[Row]) -> None:
    reference = json.loads((Path(__file__).parent / f"{name}.json").read_text())
    model = REFERENCES[name]()
    model.eval()
    count = sum(p.size for p in model.parameters() if not p.stop_gradient)
    assert count == reference["trainable"]
    set_reference_weights(name, model, reference["keys"])

    alone = {frames: reference_features(frames, model.input_size) for frames in FRAMES}
    padded = np.full((len(FRAMES), max(FRAMES) + 9, model.input_size), 5.0, "float32")
    for row, (frames, features) in enumerate(alone.items()):
        padded[row, :frames] = features
    with paddle.no_grad():
        ours = [model(paddle.to_tensor(features)).numpy()[0] for features in alone.values()]
        together = model(paddle.to_tensor(padded), paddle.to_tensor(FRAMES, dtype="int64")).numpy()
    expected = [np.asarray(reference["outputs"][str(frames)]) for frames in FRAMES]
    errors = [largest_difference(*pair) for pair in zip(ours, expected, strict=True)]
    errors.append(max(largest_difference(*pair) for pair in zip(together, expected, strict=True)))
    own = reference.get("float32_error")
    rows.append(Row(name, type(model).__name__, count, errors, own))
    assert max(errors) <= TOLERANCE


def set_reference_weights(name: str, model: SpeakerEncoder, keys: Any) -> None:
    weights = reference_weights(keys)
    layout: Literal["paddle", "torch"] = "paddle" if name.startswith("ppvector") else "torch"
    missing, unexpected = model.set_state_dict(state_from_reference(model, weights, layout=layout))
    assert not missing and not unexpected


def largest_difference(ours: np.ndarray, expected: np.ndarray) -> float:
    """Relative to the embedding's largest value."""
    return float(np.abs(ours - expected).max() / np.abs(expected).max())
