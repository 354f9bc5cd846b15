"""The encoders against the public implementations: parameter counts and embeddings stored as figures.

Each JSON file holds the names and shapes of a reference's state dict, its number of trained parameters, and
its embeddings in evaluation mode for weights and inputs that follow from names and shapes alone.
"""

from __future__ import annotations

import json
import math
import zlib
from pathlib import Path

import numpy as np
import paddle
import pytest

from vprtrain.models import TDNN, CAMPPlus, EcapaTdnn
from vprtrain.models.reference import state_from_reference

REFERENCES = {
    "campplus_192": lambda: CAMPPlus(embedding_dim=192),
    "campplus_512": lambda: CAMPPlus(embedding_dim=512),
    "ecapa_c512": lambda: EcapaTdnn(channels=512),
    "ecapa_c1024": lambda: EcapaTdnn(channels=1024),
    "xvector_512": lambda: TDNN(),
}


def reference_weight(name: str, shape: list[int]) -> np.ndarray:
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    last = name.rsplit(".", 1)[-1]
    if last == "num_batches_tracked":
        return np.zeros(shape, "int64")
    if last == "running_var" or (last == "weight" and len(shape) == 1):
        value = 0.5 + rng.random(shape)
    elif last == "running_mean" or len(shape) == 1:
        value = 0.1 * rng.standard_normal(shape)
    else:
        value = rng.standard_normal(shape) / math.sqrt(math.prod(shape[1:]))
    return value.astype("float32")


@pytest.mark.parametrize("name", REFERENCES)
def test_embeddings_and_parameter_count_equal_the_reference(name: str) -> None:
    reference = json.loads((Path(__file__).parent / f"{name}.json").read_text())
    model = REFERENCES[name]()
    model.eval()
    assert sum(p.size for p in model.parameters() if not p.stop_gradient) == reference["trainable"]

    weights = {key: reference_weight(key, shape) for key, shape in reference["keys"]}
    missing, unexpected = model.set_state_dict(state_from_reference(model, weights))
    assert not missing and not unexpected
    for frames, embedding in reference["outputs"].items():
        features = np.random.default_rng(int(frames)).standard_normal((1, int(frames), 80)).astype("float32")
        with paddle.no_grad():
            ours = model(paddle.to_tensor(features)).numpy()[0]
        expected = np.asarray(embedding)
        np.testing.assert_allclose(ours, expected, rtol=0, atol=1e-4 * np.abs(expected).max())
