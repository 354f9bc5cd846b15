"""ResNet's stages, and SimAM's weights.

Its contract as an encoder is tested in test_encoder_contract.py and test_zoo.py.
"""

from __future__ import annotations

import numpy as np
import paddle
import pytest
from small_encoders import random_features

from vprtrain.errors import UsageError
from vprtrain.layers.blocks import BasicBlock
from vprtrain.models import DFResNet, ResNet34
from vprtrain.models.residual import ResidualStages
from vprtrain.models.resnet import simam


def test_stages_but_the_first_halve_mels_frames_and_lengths_rounded_up() -> None:
    stages = ResidualStages(BasicBlock, 2, (2, 4, 8), (1, 2, 1))
    assert [len(stage) for stage in stages] == [1, 2, 1]
    x, lengths = paddle.to_tensor(random_features(3, 2, 5, 18)), paddle.to_tensor([18, 17, 1])
    shapes, real = [], []
    for stage in stages:
        x, lengths = stage(x, lengths)
        shapes.append(x.shape)
        real.append(lengths.tolist())
        for row, length in enumerate(real[-1]):
            assert x[row, :, :, :length].abs().max().item() > 0
            assert not x[row, :, :, length:].any().item()
    assert shapes == [[3, 2, 5, 18], [3, 4, 3, 9], [3, 8, 2, 5]]
    assert real == [[18, 17, 1], [9, 9, 1], [5, 5, 1]]


def test_the_width_of_the_statistics_follows_mels_and_stages() -> None:
    model = ResNet34(input_size=23, channels=4, blocks=(1, 1, 1))
    assert model.pooling.output_size == 2 * 16 * 6
    assert model.min_frames == 5
    assert model(paddle.to_tensor(random_features(2, 5, 23))).shape == [2, 256]


def test_simam_is_its_formula_over_real_frames() -> None:
    x = random_features(2, 3, 4, 9)
    lengths = [9, 5]
    weighted = simam(paddle.to_tensor(x), paddle.to_tensor(lengths, dtype="int64")).numpy()
    whole = simam(paddle.to_tensor(x[:1]), None).numpy()
    np.testing.assert_allclose(whole[0], weighted[0], rtol=1e-5, atol=1e-6)
    for row, length in enumerate(lengths):
        real = x[row, :, :, :length].astype("float64")
        squared = np.square(real - real.mean((1, 2), keepdims=True))
        variance = squared.sum((1, 2), keepdims=True) / (4 * length - 1)
        expected = real / (1 + np.exp(-squared / (4 * (variance + 1e-4)) - 0.5))
        np.testing.assert_allclose(weighted[row, :, :, :length], expected, rtol=1e-4, atol=1e-6)


def test_a_df_resnet_has_four_stages() -> None:
    with pytest.raises(UsageError, match=r"blocks are \(1, 1\); expected a number for each of 4"):
        DFResNet(blocks=(1, 1))
    model = DFResNet(input_size=23, channels=4, blocks=(1, 1, 1, 1))
    assert model.pooling.output_size == 2 * 32 * 2  # mels: 23, 12, 6, 3, 2
    assert model.min_frames == 3
