"""The Res2Nets' layers.

Their contract as encoders is tested in test_encoder_contract.py and test_zoo.py.
"""

from __future__ import annotations

import numpy as np
import paddle
import paddle.nn.functional as F
import pytest
from small_encoders import random_features

from vprtrain.models import PPVectorRes2Net
from vprtrain.models.res2net import PoolingStem, Res2Block, Res2Parts, average_3x3


def test_a_pooling_stem_knows_its_output_length() -> None:
    stem = PoolingStem(1)
    for length in range(5, 60):
        x, lengths = stem(paddle.zeros([1, 20, length]), paddle.to_tensor([length]))
        assert x.shape == [1, 1, PoolingStem.output_length(20), PoolingStem.output_length(length)]
        assert lengths.tolist() == [x.shape[-1]]


@pytest.mark.parametrize("stride", [1, 2])
def test_averages_leave_out_edges_and_padding(stride: int) -> None:
    x = random_features(3, 2, 5, 9)
    lengths = [9, 6, 1]
    for row, length in enumerate(lengths):
        x[row, :, :, length:] = 0
    means = average_3x3(
        paddle.to_tensor(x), paddle.to_tensor(lengths), stride=(stride, stride)
    ).numpy()
    whole = average_3x3(paddle.to_tensor(x[:1]), None, stride=(stride, stride)).numpy()
    np.testing.assert_allclose(whole[0], means[0], rtol=1e-5, atol=1e-6)
    for row, length in enumerate(lengths):
        for mel in range(0, 5, stride):
            for frame in range(0, length, stride):
                window = x[
                    row, :, max(mel - 1, 0) : mel + 2, max(frame - 1, 0) : min(frame + 2, length)
                ]
                mean = means[row, :, mel // stride, frame // stride]
                np.testing.assert_allclose(mean, window.mean((1, 2)), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("convolve_all", [False, True])
def test_parts_of_a_block_are_convolved_one_after_the_other(convolve_all: bool) -> None:
    block = Res2Block(6, 12, parts=Res2Parts(base_width=32, scale=3), convolve_all=convolve_all)
    block.eval()
    assert len(block.convs) == (3 if convolve_all else 2)
    x = paddle.to_tensor(random_features(2, 6, 5, 7))

    # In evaluation mode fresh batch normalisations only divide by sqrt(1 + epsilon).
    first, second, third = block.conv1(x).clip(0.0, 20.0).split(3, axis=1)
    parts = [F.relu(block.convs[0](first))]
    parts.append(F.relu(block.convs[1](second + parts[0])))
    parts.append(F.relu(block.convs[2](third + parts[1])) if convolve_all else third)
    expected = F.relu(block.conv3(paddle.concat(parts, axis=1)) + block.shortcut[0](x))
    np.testing.assert_allclose(block(x, None).numpy(), expected.numpy(), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(
    ("pooling", "least"), [("ASP", 5), ("TAP", 5), ("TSDP", 53), ("TSTP", 53), ("TSVP", 53)]
)
def test_ppvector_s_res2net_takes_audio_as_short_as_its_pooling_allows(
    pooling: str, least: int
) -> None:
    model = PPVectorRes2Net(
        input_size=20, embedding_dim=3, channels=4, blocks=(1, 1, 1, 1), pooling=pooling
    )
    assert model.min_frames == least
    model.eval()
    assert paddle.isfinite(model(paddle.to_tensor(random_features(1, least, 20)))).all().item()
