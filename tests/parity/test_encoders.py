"""The encoders against stored parameter counts and embeddings of the public implementations.

Each JSON file holds the names and shapes of a reference's state dict, its number of trained
parameters, and its embeddings in evaluation mode. Weights and inputs are computed from names and
shapes (``reference_weights.py``).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Literal

import numpy as np
import paddle
import pytest
from reference_weights import reference_features, reference_weight

from vprtrain.conversion.reference import state_from_reference
from vprtrain.models import (
    TDNN,
    CAMPPlus,
    EcapaTdnn,
    ERes2Net,
    ERes2NetV2,
    PPVectorRes2Net,
    Res2Net,
    ResNet34,
    ResNetSE,
)

REFERENCES = {
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
    "wespeaker_campplus_512": lambda: CAMPPlus(embedding_dim=512, pooling_eps=1e-7),
    "ppvector_campplus_192": lambda: CAMPPlus(bias=True, affine=True),
    "ppvector_ecapa_c512": lambda: EcapaTdnn(),
    "ppvector_eres2net_192": lambda: ERes2Net(bias=True),
    "ppvector_res2net_192": lambda: PPVectorRes2Net(),
    "ppvector_resnet_se_192": lambda: ResNetSE(),
    "ppvector_tdnn_192": lambda: TDNN(
        embedding_dim=192, pooled_channels=512, pooling="ASP", affine=True, norm_after_pooling=True
    ),
}


@pytest.mark.parametrize("name", REFERENCES)
def test_embeddings_and_parameter_count_equal_the_reference(name: str) -> None:
    reference = json.loads((Path(__file__).parent / f"{name}.json").read_text())
    model = REFERENCES[name]()
    model.eval()
    assert sum(p.size for p in model.parameters() if not p.stop_gradient) == reference["trainable"]

    weights = {key: reference_weight(key, shape) for key, shape in reference["keys"]}
    layout: Literal["paddle", "torch"] = "paddle" if name.startswith("ppvector") else "torch"
    missing, unexpected = model.set_state_dict(state_from_reference(model, weights, layout=layout))
    assert not missing and not unexpected
    for frames, embedding in reference["outputs"].items():
        with paddle.no_grad():
            ours = model(paddle.to_tensor(reference_features(int(frames)))).numpy()[0]
        expected = np.asarray(embedding)
        np.testing.assert_allclose(ours, expected, rtol=0, atol=1e-4 * np.abs(expected).max())
