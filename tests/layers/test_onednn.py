"""oneDNN's convolutions for themselves; ``test_convolution.py`` holds them against Paddle's."""

from __future__ import annotations

import gc
import weakref
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import paddle
import paddle.nn.functional as F
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vprtrain.layers import onednn
from vprtrain.layers.onednn import Convolution, Geometry, convolution

GEOMETRY = Geometry((2, 16, 20, 31), (16, 16, 3, 3), (1, 1), 1, (1, 1), 1)


@pytest.fixture
def passes() -> Convolution:
    found = convolution(GEOMETRY)
    assert found is not None
    return found


def random_tensor(shape: tuple[int, ...], seed: int) -> paddle.Tensor:
    return paddle.to_tensor(np.random.default_rng(seed).standard_normal(shape, "float32"))


@given(
    size=st.tuples(st.integers(1, 20), st.integers(1, 20)),
    kernel=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    stride=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    padding=st.integers(0, 3),
    dilation=st.tuples(st.integers(1, 3), st.integers(1, 3)),
)
def test_the_size_of_the_result(size, kernel, stride, padding, dilation) -> None:
    geometry = Geometry((1, 1, *size), (1, 1, *kernel), stride, padding, dilation, 1)
    if min(geometry.result) < 1:
        return
    x, weight = paddle.zeros(geometry.source), paddle.zeros(geometry.weight)
    expected = F.conv2d(x, weight, None, list(stride), padding, list(dilation))
    assert geometry.result == tuple(expected.shape)


def test_a_geometry_is_prepared_once(passes: Convolution) -> None:
    assert convolution(Geometry(*GEOMETRY)) is passes


def test_threads_share_a_geometry(passes: Convolution) -> None:
    weight = random_tensor(GEOMETRY.weight, 0)

    def found(seed: int) -> list[np.ndarray]:
        x = random_tensor(GEOMETRY.source, seed)
        y = passes.result(x, weight)
        gradients = passes.source_gradient(y, weight), passes.weight_gradient(x, y)
        return [each.numpy() for each in (y, *gradients)]

    alone = [found(seed) for seed in range(12)]
    with ThreadPoolExecutor(4) as pool:
        for one, other in zip(alone, pool.map(found, range(12)), strict=True):
            for a, b in zip(one, other, strict=True):
                np.testing.assert_array_equal(a, b)


def test_what_is_no_longer_kept_is_destroyed() -> None:
    passes = convolution.__wrapped__(GEOMETRY)
    kernel = weakref.ref(passes._forward._kernel)
    del passes
    gc.collect()
    assert kernel() is None


def test_single_positions_without_blocks_first(monkeypatch: pytest.MonkeyPatch) -> None:
    single = Geometry((2, 1, 20, 31), (32, 1, 1, 1), (1, 1), 0, (1, 1), 1)
    tried: list[bool] = []
    make = onednn.Convolution

    def spy(*args: object, blocks: bool) -> Convolution:
        tried.append(blocks)
        made = make(*args, blocks=blocks)
        made.is_optimised = blocks
        return made

    monkeypatch.setattr(onednn, "Convolution", spy)
    assert convolution.__wrapped__(single) is not None
    assert tried == [False, True]
    assert convolution.__wrapped__(GEOMETRY) is not None
    assert tried == [False, True, True]


def test_without_such_a_kernel_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onednn._Library, "is_reference", lambda *_: True)
    assert convolution.__wrapped__(GEOMETRY) is None
