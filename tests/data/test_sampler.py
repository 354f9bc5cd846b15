from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from vprtrain.data.sampler import EpochSampler, Purpose, keyed_rng

numbers = st.integers(0, 2**31)


@given(size=st.integers(1, 200), batch_size=st.integers(1, 50), seed=numbers, epoch=numbers, data=st.data())
def test_any_start_continues_the_same_epoch(
    size: int, batch_size: int, seed: int, epoch: int, data: st.DataObject
) -> None:
    sampler = EpochSampler(size=size, batch_size=batch_size, seed=seed)
    whole = list(sampler.indices(epoch))
    assert len(whole) == sampler.steps_per_epoch * batch_size
    assert size - len(whole) < batch_size
    assert len(set(whole)) == len(whole) and set(whole) <= set(range(size))
    start = data.draw(st.integers(0, sampler.steps_per_epoch))
    assert list(sampler.indices(epoch, start)) == whole[start * batch_size :]


def test_the_order_depends_on_seed_and_epoch() -> None:
    orders = {
        tuple(EpochSampler(size=50, batch_size=1, seed=seed).order(epoch)) for seed in range(4) for epoch in range(4)
    }
    assert len(orders) == 16


def test_what_an_epoch_drops_another_has() -> None:
    sampler = EpochSampler(size=10, batch_size=4, seed=0)
    seen = {index for epoch in range(20) for index in sampler.indices(epoch)}
    assert seen == set(range(10))


@given(seed=numbers, position=st.lists(numbers, min_size=1, max_size=3))
def test_purposes_and_positions_do_not_share_numbers(seed: int, position: list[int]) -> None:
    def first(purpose: Purpose, *key: int) -> float:
        return keyed_rng(seed, purpose, *key).random()

    assert first(Purpose.ORDER, *position) == first(Purpose.ORDER, *position)
    assert first(Purpose.ORDER, *position) != first(Purpose.SAMPLE, *position)
    assert first(Purpose.SAMPLE, *position) != first(Purpose.SAMPLE, position[0] + 1, *position[1:])


def test_crops_spread_evenly_over_positions() -> None:
    draws = np.array([keyed_rng(0, Purpose.SAMPLE, 3, index).random() for index in range(2000)])
    assert abs(draws.mean() - 0.5) < 0.03
    assert len(set(draws)) == len(draws)
