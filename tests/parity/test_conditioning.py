"""CAM++ where it is badly conditioned, against the references in float64.

Before training, 13 % of the channels that CAM++ pools have no variance at all, and the median
variance is 3e-5. What stands under the square root of the deviation then decides: 1e-7 where the
reference has nothing moves the embedding by 7e-3 of its largest value (by 0.1 for features a tenth
as large), while the reference's own float32 is right to 3e-7. A difference of that size is a wrong
``pooling_eps``, not float32. In the published CAM++ one channel of 512 has no variance.
"""

from __future__ import annotations

import json
import math
import zlib
from pathlib import Path

import numpy as np
import paddle
import pytest
from reference_weights import reference_features

from vprtrain.conversion import read_3dspeaker, recognise
from vprtrain.conversion.reference import state_from_reference
from vprtrain.data.audio import read_audio
from vprtrain.models import SpeakerEncoder

FOLDER = Path(__file__).parent
INITIAL = json.loads((FOLDER / "conditioning" / "initial_campplus.json").read_text())
WESPEAKER, THREE_D_SPEAKER = "wespeaker_campplus_512", "campplus_192"
TOLERANCE = 1e-5


def initial_weight(name: str, shape: list[int]) -> np.ndarray:
    """As before training: neutral normalisations, no biases, products of variance one."""
    last = name.rsplit(".", 1)[-1]
    if last == "running_var" or (last == "weight" and len(shape) == 1):
        return np.ones(shape, "float32")
    if last == "running_mean" or len(shape) <= 1:
        return np.zeros(shape, "float32")
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    return (rng.standard_normal(shape) / math.sqrt(math.prod(shape[1:]))).astype("float32")


def embedding_before_training(
    reference: str, toolkit: str, given: dict[str, float] | None = None
) -> np.ndarray:
    """With the epsilon that a conversion from the toolkit takes, unless one is given."""
    keys = json.loads((FOLDER / f"{reference}.json").read_text())["keys"]
    weights = {key: initial_weight(key, shape) for key, shape in keys}
    model = recognise(weights, given, toolkit=toolkit)
    set_weights(model, weights)
    return embedded(model, reference_features(200))


def set_weights(model: SpeakerEncoder, weights: dict[str, np.ndarray]) -> None:
    model.eval()
    assert model.set_state_dict(state_from_reference(model, weights)) == ([], [])


def embedded(model: SpeakerEncoder, features: np.ndarray) -> np.ndarray:
    with paddle.no_grad():
        return model(paddle.to_tensor(features)).numpy()[0]


def largest_difference(ours: np.ndarray, expected: list[float]) -> float:
    return float(np.abs(ours - expected).max() / np.abs(expected).max())


@pytest.mark.parametrize("reference", INITIAL)
def test_before_training_it_equals_the_reference_in_float64(reference: str) -> None:
    toolkit = "wespeaker" if reference == WESPEAKER else "3dspeaker"
    ours = embedding_before_training(reference, toolkit)
    assert largest_difference(ours, INITIAL[reference]["output"]) < TOLERANCE
    assert INITIAL[reference]["float32_error"] < TOLERANCE


def test_before_training_another_epsilon_shows() -> None:
    ours = embedding_before_training(THREE_D_SPEAKER, "3dspeaker", {"pooling_eps": 1e-7})
    assert 5e-3 < largest_difference(ours, INITIAL[THREE_D_SPEAKER]["output"]) < 1e-2


def test_the_published_campplus_equals_the_reference_in_float64(test_data: Path) -> None:
    weights = test_data / "pretrained" / "campplus_cn_en_common.pt"
    if not weights.exists():
        pytest.skip(f"no published model at {weights}")
    foreign = read_3dspeaker(weights)
    set_weights(foreign.model, foreign.weights)
    reference = json.loads((FOLDER / "conditioning" / "published_campplus.json").read_text())
    differences = []
    for path, expected in reference["outputs"].items():
        waveform = read_audio(test_data / "dev_pack" / path)
        features = foreign.feature.on_host(waveform[np.newaxis])
        differences.append(largest_difference(embedded(foreign.model, features), expected))
    print(
        f"published CAM++, {len(differences)} recordings: {max(differences):.1e} to float64; "
        f"the reference's own float32: {reference['float32_error']:.1e}"
    )
    assert max(differences) < TOLERANCE
