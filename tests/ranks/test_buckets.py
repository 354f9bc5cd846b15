"""Which tensors are reduced together."""

import paddle

from vprtrain.ranks.buckets import buckets


def test_tensors_are_reduced_in_buckets_of_one_type_and_large_ones_alone():
    shapes = [
        ([4], "float32"),
        ([2, 3], "float32"),
        ([2], "int64"),
        ([10], "float32"),
        ([1], "float32"),
        ([], "int64"),
    ]
    tensors = [paddle.zeros(shape, dtype) for shape, dtype in shapes]
    place = {id(tensor): number for number, tensor in enumerate(tensors)}
    found = [[place[id(tensor)] for tensor in bucket] for bucket in buckets(tensors, 40)]
    assert found == [[3], [0, 1], [4], [2, 5]]
