"""ResNetSE's gates.

Its contract as an encoder is tested in test_encoder_contract.py and test_zoo.py.
"""

from __future__ import annotations

import numpy as np
import paddle
import pytest
from small_encoders import random_features

from vprtrain.models.resnet_se import SqueezeExcitation2D


@pytest.mark.parametrize("lengths", [None, [7, 3]])
def test_gates_come_of_the_mean_over_mels_and_real_frames(lengths: list[int] | None) -> None:
    paddle.seed(0)
    x = random_features(2, 4, 5, 7)
    layer = SqueezeExcitation2D(4, 3)
    scaled = layer(
        paddle.to_tensor(x), None if lengths is None else paddle.to_tensor(lengths)
    ).numpy()
    hidden, output = (
        (part.weight.numpy(), part.bias.numpy()) for part in (layer.linear1, layer.linear2)
    )
    for row, length in enumerate(lengths or [7, 7]):
        mean = x[row, :, :, :length].mean((1, 2))
        gates = 1 / (
            1 + np.exp(-(np.maximum(mean @ hidden[0] + hidden[1], 0) @ output[0] + output[1]))
        )
        np.testing.assert_allclose(scaled[row], x[row] * gates[:, None, None], rtol=1e-5, atol=1e-6)
