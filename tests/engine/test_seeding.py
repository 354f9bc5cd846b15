"""Keys: functions of the seed and the position; neighbouring positions have unrelated keys."""

import numpy as np
import paddle
from hypothesis import given
from hypothesis import strategies as st

from vprtrain.engine.seeding import key, seed_all

numbers = st.integers(-(2**63), 2**63 - 1)


@given(seed=numbers, position=st.lists(numbers, max_size=3))
def test_a_key_is_a_function_of_all_its_parts(seed, position):
    assert key(seed, *position) == key(seed, *position)
    assert 0 <= key(seed, *position) < 2**63
    assert key(seed, *position) != key(seed, *position, 0)


def test_neighbours_are_unrelated():
    keys = [key(seed, rank, step) for seed in range(3) for rank in range(3) for step in range(300)]
    assert len(set(keys)) == len(keys)
    bits = np.array([[number >> bit & 1 for bit in range(63)] for number in keys])
    assert abs(bits.mean(axis=0) - 0.5).max() < 0.06
    assert abs(np.corrcoef(bits[:-1, 0], bits[1:, 0])[0, 1]) < 0.1


def test_seeding_makes_the_weights_reproducible():
    weights = []
    for seed in (1, 1, 2):
        seed_all(seed)
        weights.append((paddle.nn.Linear(4, 4).weight.numpy().tobytes(), np.random.rand()))
    assert weights[0] == weights[1] != weights[2]
