"""RepVGG's blocks: trained branches are one convolution for use.

Its contract as an encoder is tested in test_encoder_contract.py and test_zoo.py.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from small_encoders import MELS, embedded, made_uneven, random_features

from vprtrain.errors import UsageError
from vprtrain.models import RepVGG

SIZES: dict[str, Any] = {
    "input_size": MELS,
    "embedding_dim": 16,
    "widths": (4, 8, 8),
    "blocks": (2, 2, 3),
}


@pytest.mark.parametrize(
    "options",
    [{}, {"dilated": True}, {"groups": 2}, {"squeeze_excitation": True, "pooling": "ASTP"}],
    ids=str,
)
def test_the_deployed_network_has_the_same_embeddings(options: dict[str, Any]) -> None:
    model = made_uneven(RepVGG(**SIZES, **options))
    deployed = model.deployed().deployed()
    assert deployed.init_args == {**model.init_args, "deploy": True}
    assert not any("bn" in name for name, _ in deployed.stages.named_parameters())
    features = random_features(2, 60, MELS)
    expected = embedded(model, features, [60, 41])
    ours = embedded(deployed, features, [60, 41])
    np.testing.assert_allclose(ours, expected, rtol=0, atol=1e-5 * np.abs(expected).max())


def test_every_second_block_is_in_groups() -> None:
    model = RepVGG(**SIZES, groups=2)
    blocks = [block for stage in model.stages for block in stage]
    groups = [
        block.branches[0].conv.weight.shape[1] * 2 == width
        for block, width in zip(blocks, (4, 4, 4, 8, 8, 8, 8), strict=True)
    ]
    assert groups == [False, True, False, True, False, True, False]


def test_widths_and_groups_that_do_not_fit_are_refused() -> None:
    with pytest.raises(UsageError, match=r"widths are \(4, 8\); expected a number for each of 3"):
        RepVGG(**{**SIZES, "widths": (4, 8)})
    with pytest.raises(UsageError, match="groups is 3, which does not divide 4 and 4 channels"):
        RepVGG(**SIZES, groups=3)
