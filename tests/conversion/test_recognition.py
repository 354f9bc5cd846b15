"""Names and shapes give every reference's architecture and sizes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from vprtrain.conversion.recognition import recognise
from vprtrain.errors import CheckpointError

PARITY = Path(__file__).parents[1] / "parity"
REFERENCES = sorted(path.stem for path in PARITY.glob("*.json"))
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
    return {key: np.broadcast_to(np.float32(0), shape) for key, shape in keys}


@pytest.mark.parametrize("name", REFERENCES)
def test_every_reference_is_recognised(name: str) -> None:
    toolkit = name.split("_")[0]
    # What ppvector's configuration tells.
    given = {"input_size": 80} if toolkit == "ppvector" else {}
    model = recognise(zeros(name), given, toolkit=toolkit)
    trainable = sum(
        parameter.size for parameter in model.parameters() if not parameter.stop_gradient
    )
    assert trainable == json.loads((PARITY / f"{name}.json").read_text())["trainable"]
    assert model.input_size == INPUT_SIZES.get(name, 80)


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
