"""One process without a launcher; several are in tests/faults/test_distributed*.py."""

import numpy as np
import paddle
import pytest
from paddle import nn
from toy import ToyData, ToyModule

from vprtrain.distributed import _buckets, launched_rank, launched_size, start, synchronise_batch_norm
from vprtrain.engine import Engine
from vprtrain.errors import UsageError


def test_without_a_launcher_there_is_one_process(monkeypatch):
    for name in ("PADDLE_TRAINERS_NUM", "PADDLE_TRAINER_ID"):
        monkeypatch.delenv(name, raising=False)
    assert (launched_size(), launched_rank()) == (1, 0)


def test_one_process_has_nothing_to_exchange():
    ranks, array = start(), np.arange(3)
    assert (ranks.size, ranks.rank, ranks.is_first, ranks.attention) == (1, 0, True, False)
    assert ranks.exchange({"a": 1}) == [{"a": 1}]
    assert ranks.gather(array)[0] is array


def test_data_that_is_shared_out_among_others_is_refused():
    data = ToyData()
    data.world_size = 2
    with pytest.raises(UsageError, match="shares each batch out among 2 processes, but the run has 1: set its"):
        Engine(max_epochs=1).fit(ToyModule(), data)


def _tensors(state):
    return {name: tensor.name for name, tensor in state.items()}


def test_synchronised_batch_norm_leaves_parameters_and_state_as_they_are():
    def layers():
        norms = [nn.BatchNorm1D(4), nn.BatchNorm2D(4), nn.BatchNorm1D(4, weight_attr=False, bias_attr=False)]
        return nn.Sequential(nn.Linear(3, 4), nn.Sequential(*norms))

    module = layers()
    state, parameters = _tensors(module.state_dict()), [one.name for one in module.parameters()]
    synchronise_batch_norm(module)
    assert sum(isinstance(layer, nn.SyncBatchNorm) for layer in module.sublayers()) == 3
    assert [one.name for one in module.parameters()] == parameters
    assert {name: id(one) for name, one in module.state_dict().items()} == {
        name: id(one) for name, one in state.items()
    }
    np.testing.assert_array_equal(module[1][2].weight.numpy(), np.ones(4))
    np.testing.assert_array_equal(module[1][2].bias.numpy(), np.zeros(4))


def test_tensors_are_reduced_in_buckets_of_one_type_and_large_ones_alone():
    shapes = [([4], "float32"), ([2, 3], "float32"), ([2], "int64"), ([10], "float32"), ([1], "float32"), ([], "int64")]
    tensors = [paddle.zeros(shape, dtype) for shape, dtype in shapes]
    place = {id(tensor): number for number, tensor in enumerate(tensors)}
    found = [[place[id(tensor)] for tensor in bucket] for bucket in _buckets(tensors, 40)]
    assert found == [[3], [0, 1], [4], [2, 5]]
