"""state_from_reference: renamed and transposed tensors, and refusals."""

from __future__ import annotations

import numpy as np
import pytest

from vprtrain.conversion.reference import state_from_reference
from vprtrain.errors import CheckpointError
from vprtrain.models import TDNN


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
