"""ResNet34's stages.

Its contract as an encoder is tested in test_encoder_contract.py and test_zoo.py.
"""

from __future__ import annotations

import paddle
from small_encoders import random_features

from vprtrain.layers.blocks import BasicBlock
from vprtrain.models import ResNet34
from vprtrain.models.residual import ResidualStages


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
