"""state_from_reference: renamed and transposed tensors, and refusals."""

from __future__ import annotations

import re

import numpy as np
import pytest

from vprtrain.conversion.reference import state_from_reference
from vprtrain.errors import CheckpointError
from vprtrain.models import TDNN, ResNet


def small_tdnn() -> TDNN:
    return TDNN(input_size=4, embedding_dim=3, channels=2, pooled_channels=5)


def reference_tdnn() -> dict[str, np.ndarray]:
    """The state dict of a 3D-Speaker x-vector, with consecutive numbers as values."""
    shapes: dict[str, tuple[int, ...]] = {}
    for layer, (inputs, outputs, kernel) in enumerate(
        [(4, 2, 5), (2, 2, 3), (2, 2, 3), (2, 2, 1), (2, 5, 1)], 1
    ):
        shapes[f"frame_{layer}.conv_1d.weight"] = (outputs, inputs, kernel)
        shapes[f"frame_{layer}.conv_1d.bias"] = (outputs,)
        shapes[f"frame_{layer}.bn.running_mean"] = (outputs,)
        shapes[f"frame_{layer}.bn.running_var"] = (outputs,)
        shapes[f"frame_{layer}.bn.num_batches_tracked"] = ()
    shapes |= {"seg_1.weight": (3, 10), "seg_1.bias": (3,)}
    return {
        key: np.arange(np.prod(shape), dtype="float32").reshape(shape) + number
        for number, (key, shape) in enumerate(shapes.items())
    }


def test_names_and_layouts() -> None:
    model, reference = small_tdnn(), reference_tdnn()
    state = state_from_reference(model, reference)
    assert state.keys() == model.state_dict().keys()
    np.testing.assert_array_equal(
        state["frames.1.conv.weight"], reference["frame_2.conv_1d.weight"]
    )
    np.testing.assert_array_equal(
        state["frames.4.norm._variance"], reference["frame_5.bn.running_var"]
    )
    np.testing.assert_array_equal(state["embedding.weight"], reference["seg_1.weight"].T)
    assert model.set_state_dict(state) == ([], [])


def test_a_missing_tensor_is_refused() -> None:
    reference = reference_tdnn()
    del reference["frame_3.conv_1d.bias"]
    with pytest.raises(
        CheckpointError, match=r"1 of its tensors are missing \['frames\.2\.conv\.bias'\]"
    ):
        state_from_reference(small_tdnn(), reference)


def test_an_unknown_tensor_is_refused() -> None:
    reference = reference_tdnn() | {"seg_2.weight": np.zeros((3, 3), "float32")}
    with pytest.raises(CheckpointError, match=r"1 others are not known \['seg_2\.weight'\]"):
        state_from_reference(small_tdnn(), reference)


def test_another_size_is_refused() -> None:
    reference = reference_tdnn() | {"seg_1.weight": np.zeros((7, 10), "float32")}
    with pytest.raises(CheckpointError, match=r"seg_1\.weight has shape \(7, 10\).*\(10, 3\)"):
        state_from_reference(small_tdnn(), reference)


def test_the_heads_of_a_pooling_become_one_convolution_in_groups() -> None:
    model = ResNet(input_size=16, embedding_dim=3, channels=4, blocks=(1, 1), pooling="MQMHA")
    # The two stages have basic blocks of 4 and 8 channels; 8 mels remain.
    names = {name: value.shape for name, value in model.state_dict().items()}
    heads, width, hidden = 8, 8 * 8 // 8, 64
    weights = {}
    for query in range(2):
        for head in range(heads):
            prefix = f"pool.n_query.{query}.heads_att_trans.{head}."
            weights[f"{prefix}att_0.weight"] = np.full((hidden, width, 1), head, "float32")
            weights[f"{prefix}att_0.bias"] = np.full(hidden, head, "float32")
            weights[f"{prefix}att_1.weight"] = np.full((width, hidden, 1), head, "float32")
            weights[f"{prefix}att_1.bias"] = np.full(width, head, "float32")
    backwards = dict(reversed(weights.items()))
    for name, shape in names.items():
        if name.startswith(("stem.", "stages.")):
            theirs = re.sub(r"^stages\.(\d)", lambda stage: f"layer{int(stage[1]) + 1}", name)
            theirs = theirs.replace("stem.", "").replace("_mean", "running_mean")
            backwards[theirs.replace("_variance", "running_var")] = np.zeros(shape, "float32")
    backwards["seg_1.weight"] = np.zeros((3, 4 * 64), "float32")
    backwards["seg_1.bias"] = np.zeros(3, "float32")
    state = state_from_reference(model, backwards)
    for query in range(2):
        joined = state[f"pooling.queries.{query}.0.weight"]
        assert joined.shape == (heads * hidden, width, 1)
        np.testing.assert_array_equal(joined[:, 0, 0], np.repeat(np.arange(heads), hidden))
        np.testing.assert_array_equal(
            state[f"pooling.queries.{query}.2.bias"], np.repeat(np.arange(heads), width)
        )
