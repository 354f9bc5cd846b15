"""ERes2Net's fusions and options.

Its contract as an encoder is tested in test_encoder_contract.py and test_zoo.py.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import paddle
import pytest
from reference_weights import reference_weight
from small_encoders import ENCODERS, MELS, VARIANTS, embedded, random_features

from vprtrain.conversion.reference import state_from_reference
from vprtrain.errors import UsageError
from vprtrain.models import ERes2Net, ERes2NetV2, SpeakerEncoder
from vprtrain.models.eres2net import AttentiveFusion


def test_attentive_fusion() -> None:
    paddle.seed(0)
    fusion = AttentiveFusion(8)
    fusion.eval()
    x, y = random_features(2, 8, 3, 5, seed=1), random_features(2, 8, 3, 5, seed=2)

    def convolved(values: np.ndarray, conv: paddle.nn.Conv2D) -> np.ndarray:
        # Fresh batch normalisation in evaluation mode only divides by sqrt(1 + epsilon).
        product = np.einsum("oi,bihw->bohw", conv.weight.numpy()[:, :, 0, 0], values)
        return (product + conv.bias.numpy()[:, None, None]) / np.sqrt(1 + 1e-5)

    hidden = convolved(np.concatenate([x, y], axis=1), fusion.conv1)
    weight = 1 + np.tanh(convolved(hidden / (1 + np.exp(-hidden)), fusion.conv2))
    ours = fusion(paddle.to_tensor(x), paddle.to_tensor(y)).numpy()
    np.testing.assert_allclose(ours, x * weight + y * (2 - weight), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("model", "inputs"), [(ERes2Net, [4, 8, 16]), (ERes2NetV2, [16])])
def test_which_stages_are_fused(model: Callable[..., SpeakerEncoder], inputs: list[int]) -> None:
    encoder = model(input_size=MELS, channels=2, expansion=2, base_width=64)
    assert [fusion.downsample.weight.shape[1] for fusion in encoder.fusions] == inputs
    attentive = [[len(block.fusions) for block in stage] for stage in encoder.stages]
    assert attentive == [[0] * 3, [0] * 4, [1] * 6, [1] * 3]


@pytest.mark.parametrize(
    ("options", "found"),
    [
        ({"base_width": 8}, "parts of 0 channels in a stage 8"),
        ({"blocks": (1, 1)}, "parts of 2 .* at least 4"),
    ],
)
def test_parts_too_narrow_for_their_convolutions_are_refused(
    options: dict[str, object], found: str
) -> None:
    with pytest.raises(UsageError, match=found):
        ERes2Net(channels=4, **options)


@pytest.mark.parametrize("lengths", [None, [40, 23]])
@pytest.mark.parametrize("name", ["ERes2Net", "ERes2NetV2", "ppvector's ERes2Net"])
def test_recomputation_changes_no_bit(name: str, lengths: list[int] | None) -> None:
    results = []
    for recompute in (False, 2, True):
        paddle.seed(3)
        encoder = (ENCODERS | VARIANTS)[name](recompute=recompute)
        given = None if lengths is None else paddle.to_tensor(lengths, dtype="int64")
        embeddings = encoder(paddle.to_tensor(random_features(2, 40, MELS)), given)
        (embeddings * paddle.to_tensor(random_features(*embeddings.shape))).sum().backward()
        gradients = {key: p.grad for key, p in encoder.named_parameters() if not p.stop_gradient}
        results.append((embeddings, *gradients.values(), *encoder.state_dict().values()))
    for plain, *recomputed in zip(*results, strict=True):
        for each in recomputed:
            np.testing.assert_array_equal(each.numpy(), plain.numpy())


@pytest.mark.parametrize("recompute", [-1, 5, 1.0, "2", None])
def test_a_number_of_recomputed_stages_that_there_are_not(recompute: object) -> None:
    with pytest.raises(UsageError, match=r"recompute is .*; expected a whole number from 0 to 4"):
        ENCODERS["ERes2NetV2"](recompute=recompute)


def test_the_second_embedding_of_the_reference() -> None:
    keys = json.loads((Path(__file__).parents[1] / "parity" / "eres2net_m32.json").read_text())[
        "keys"
    ]
    second = {
        "seg_bn_1.running_mean": [192],
        "seg_bn_1.running_var": [192],
        "seg_bn_1.num_batches_tracked": [],
        "seg_2.weight": [192, 192],
        "seg_2.bias": [192],
    }
    one, both = ERes2Net(), ERes2Net(second_embedding=True)
    weights = {key: reference_weight(key, shape) for key, shape in keys}
    assert one.set_state_dict(state_from_reference(one, weights)) == ([], [])
    weights |= {key: reference_weight(key, shape) for key, shape in second.items()}
    assert both.set_state_dict(state_from_reference(both, weights)) == ([], [])
    one.eval()
    both.eval()
    features = random_features(1, 40, 80)
    hidden = np.maximum(embedded(one, features), 0) - weights["seg_bn_1.running_mean"]
    hidden /= np.sqrt(weights["seg_bn_1.running_var"] + 1e-5)
    expected = hidden @ weights["seg_2.weight"].T + weights["seg_2.bias"]
    np.testing.assert_allclose(
        embedded(both, features), expected, rtol=0, atol=1e-4 * np.abs(expected).max()
    )
