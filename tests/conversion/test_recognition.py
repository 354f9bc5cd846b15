"""Names and shapes give every reference's architecture and sizes."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from reference_weights import reference_shapes

from vprtrain.conversion.recognition import readings, recognise
from vprtrain.errors import CheckpointError
from vprtrain.layers.sizes import without_memory
from vprtrain.models import ResNet

PARITY = Path(__file__).parents[1] / "parity"
FIGURES_OF_TRAINING = {"initial", "ppvector_trajectory", "trajectories"}
REFERENCES = sorted({path.stem for path in PARITY.glob("*.json")} - FIGURES_OF_TRAINING)
INPUT_SIZES = {
    "redimnet_b2": 72,
    "speechbrain_xvector": 24,
    "wespeaker_redimnet_b0": 60,
    **{f"wespeaker_redimnet_b{size}": 72 for size in range(1, 7)},
}
"""Where it is not 80."""


def zeros(name: str) -> dict[str, np.ndarray]:
    """The reference's state dict; its tensors share one number in memory."""
    keys = json.loads((PARITY / f"{name}.json").read_text())["keys"]
    return {
        key: np.broadcast_to(np.float32(0), shape) for key, shape in reference_shapes(keys).items()
    }


GIVEN: dict[str, dict[str, Any]] = {
    "wespeaker_resnet34_tap": {"pooling": "TAP"},
    "wespeaker_resnet34_tsdp": {"pooling": "TSDP"},
}
"""What nothing in the weights shows."""


@pytest.mark.parametrize("name", REFERENCES)
def test_every_reference_is_recognised(name: str) -> None:
    toolkit = name.split("_")[0]
    # What ppvector's configuration tells.
    given = {"input_size": 80} if toolkit == "ppvector" else GIVEN.get(name)
    (reading,) = readings(zeros(name), given, toolkit=toolkit)
    with without_memory():
        model = reading.build()
    trainable = sum(
        math.prod(parameter.shape)
        for parameter in model.parameters()
        if not parameter.stop_gradient
    )
    assert trainable == json.loads((PARITY / f"{name}.json").read_text())["trainable"]
    assert model.input_size == INPUT_SIZES.get(name, 80)


def test_shapes_of_several_networks_are_refused_with_their_names() -> None:
    weights = zeros("wespeaker_resnet34_tap")
    with pytest.raises(CheckpointError) as refused:
        recognise(weights)
    for candidate in (
        "ResNet (input_size 40, pooling TSTP)",
        "ResNet (input_size 80, pooling TAP)",
        "ResNet (input_size 80, pooling TSDP)",
    ):
        assert candidate in str(refused.value)
    with pytest.raises(CheckpointError, match=r"fit 2 networks.*pooling TAP\), ResNet \(pooling T"):
        recognise(weights, {"input_size": 80})


@pytest.mark.parametrize(
    ("name", "linear", "channels", "model"),
    [
        ("wespeaker_ecapa_c512_tstp", "linear", 1536, "WeSpeakerEcapaTdnn"),
        ("xvector_512", "seg_1", 1500, "TDNN"),
    ],
)
def test_the_mean_alone_or_the_deviation_alone_are_two_readings(
    name: str, linear: str, channels: int, model: str
) -> None:
    weights = zeros(name)
    rows, _ = weights[f"{linear}.weight"].shape
    weights[f"{linear}.weight"] = np.broadcast_to(np.float32(0), (rows, channels))
    if "bn.weight" in weights:
        statistics = ("weight", "bias", "running_mean", "running_var")
        weights |= {f"bn.{part}": np.zeros(channels, "float32") for part in statistics}
    with pytest.raises(
        CheckpointError, match=rf"{model} \(pooling TAP\), {model} \(pooling TSDP\)"
    ):
        recognise(weights)
    assert recognise(weights, {"pooling": "TSDP"}).init_args["pooling"] == "TSDP"


def test_a_pooling_of_another_size_is_refused() -> None:
    weights = zeros("wespeaker_ecapa_c512_tstp")
    weights["linear.weight"] = np.broadcast_to(np.float32(0), (192, 5000))
    with pytest.raises(CheckpointError, match="no known pooling makes 5000 values of 1536"):
        recognise(weights)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"input_size": 40}, ("TSTP", 40)),
        ({"pooling": "TAP"}, ("TAP", 80)),
        ({"pooling": "TSDP", "input_size": 80}, ("TSDP", 80)),
        ({"pooling": "TSP"}, ("TSP", 40)),
    ],
)
def test_what_is_given_chooses_among_several_networks(
    given: dict[str, Any], expected: tuple[str, int]
) -> None:
    (reading,) = readings(zeros("wespeaker_resnet34_tap"), given)
    assert (reading.init_args["pooling"], reading.init_args["input_size"]) == expected


def test_what_contradicts_the_shapes_is_refused() -> None:
    with pytest.raises(CheckpointError, match=r"look like a ResNet, but none has their shapes"):
        readings(zeros("wespeaker_resnet34_tap"), {"input_size": 64})


def test_more_mels_than_a_frame_has_are_no_reading_unless_they_are_given() -> None:
    (reading,) = readings(zeros("resnet34_256"))
    assert (reading.init_args["pooling"], reading.init_args["input_size"]) == ("TSTP", 80)
    found = readings(zeros("resnet34_256"), {"input_size": 160})
    assert {reading.init_args["pooling"] for reading in found} == {"TAP", "TSDP"}


def test_only_a_named_class_is_considered() -> None:
    for name in ("ResNet", "ResNet34"):
        assert isinstance(recognise(zeros("resnet34_256"), model=name), ResNet)
    with pytest.raises(CheckpointError, match="are of a ResNet, not of a Res2Net"):
        recognise(zeros("resnet34_256"), model="Res2Net")


@pytest.mark.parametrize(("toolkit", "eps"), [("3dspeaker", 1e-8), ("wespeaker", 1e-7)])
def test_the_toolkit_tells_what_no_shape_shows(toolkit: str, eps: float) -> None:
    (reading,) = readings(zeros("res2net"), toolkit=toolkit)
    assert reading.init_args["pooling_eps"] == eps


def test_what_is_given_counts_where_the_model_takes_it() -> None:
    assert (
        recognise(zeros("wespeaker_campplus_512"), {"pooling_eps": 1e-7}).init_args["pooling_eps"]
        == 1e-7
    )
    assert "pooling_eps" not in recognise(zeros("ecapa_c512"), {"pooling_eps": 1e-7}).init_args


def test_other_weights_are_of_no_known_architecture() -> None:
    with pytest.raises(
        CheckpointError, match=r"have no known architecture \(CAMPPlus, .*\['conv.weight'\]"
    ):
        recognise({"conv.weight": np.zeros(3)})
