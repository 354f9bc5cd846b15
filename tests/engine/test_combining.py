"""Preparing a module for several ranks. tests/faults/test_distributed.py tests the combining."""

import numpy as np
from paddle import nn

from vprtrain.engine.combining import synchronise_batch_norm


def _tensors(state):
    return {name: tensor.name for name, tensor in state.items()}


def test_synchronised_batch_norm_leaves_parameters_and_state_as_they_are():
    def layers():
        norms = [
            nn.BatchNorm1D(4),
            nn.BatchNorm2D(4),
            nn.BatchNorm1D(4, weight_attr=False, bias_attr=False),
        ]
        return nn.Sequential(nn.Linear(3, 4), nn.Sequential(*norms))

    module = layers()
    state, parameters = _tensors(module.state_dict()), [one.name for one in module.parameters()]
    synchronise_batch_norm(module)
    assert sum(isinstance(layer, nn.SyncBatchNorm) for layer in module.sublayers()) == 3
    assert [one.name for one in module.parameters()] == parameters
    assert _tensors(module.state_dict()) == state
    np.testing.assert_array_equal(module[1][2].weight.numpy(), np.ones(4))
    np.testing.assert_array_equal(module[1][2].bias.numpy(), np.zeros(4))
