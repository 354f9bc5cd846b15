from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vprtrain.data.rank_share import RankShare
from vprtrain.data.sampler import (
    BalancedOrder,
    EpochSampler,
    GroupedOrder,
    Purpose,
    SamplingOrder,
    ShuffledOrder,
    keyed_rng,
)
from vprtrain.errors import UsageError

numbers = st.integers(0, 2**31)
ORDERS = (ShuffledOrder(), BalancedOrder(), GroupedOrder(utterances_per_speaker=2))
# Four speakers or more, so that batches of up to 8 have enough of them for P x K.
labels_of_speakers = st.lists(st.integers(0, 6), max_size=60).map(
    lambda more: np.array([*range(4), *more], np.int32)
)


def sampler(labels: np.ndarray, batch_size: int, seed: int = 0, **options: object) -> EpochSampler:
    return EpochSampler(
        labels=labels, batch_size=batch_size, seed=seed, **{"order": ShuffledOrder(), **options}
    )


def dense(labels: np.ndarray) -> np.ndarray:
    return np.unique(labels, return_inverse=True)[1]


@given(
    labels_of_speakers,
    st.sampled_from(ORDERS),
    st.sampled_from([4, 8]),
    numbers,
    numbers,
    st.data(),
)
def test_any_start_continues_the_same_epoch(
    labels: np.ndarray,
    order: SamplingOrder,
    batch_size: int,
    seed: int,
    epoch: int,
    data: st.DataObject,
) -> None:
    batches = list(sampler(labels, batch_size, seed, order=order).batches(epoch))
    assert len(batches) == sampler(labels, batch_size, order=order).steps_per_epoch
    start = data.draw(st.integers(0, len(batches)))
    continued = list(sampler(labels, batch_size, seed, order=order).batches(epoch, start))
    assert list(map(list, continued)) == list(map(list, batches[start:]))


@given(
    labels_of_speakers,
    st.sampled_from(ORDERS),
    st.sampled_from([4, 8]),
    numbers,
    st.sampled_from([1, 2, 4]),
)
def test_all_ranks_together_train_on_the_same(
    labels: np.ndarray, order: SamplingOrder, batch_size: int, epoch: int, world_size: int
) -> None:
    whole = list(sampler(labels, batch_size, order=order).batches(epoch))
    ranks = [
        sampler(labels, batch_size, order=order, share=RankShare(r, world_size))
        for r in range(world_size)
    ]
    assert all(rank.part_size == batch_size // world_size for rank in ranks)
    for batch, *parts in zip(whole, *(rank.batches(epoch) for rank in ranks), strict=True):
        assert list(np.concatenate(parts)) == list(batch)


@given(labels_of_speakers, st.sampled_from(ORDERS), st.sampled_from([1, 4]), numbers)
def test_no_draw_comes_twice(
    labels: np.ndarray, order: SamplingOrder, batch_size: int, epoch: int
) -> None:
    if isinstance(order, GroupedOrder):
        batch_size = 4
    draws = [
        int(draw)
        for batch in sampler(labels, batch_size, order=order).batches(epoch)
        for draw in batch
    ]
    assert len(set(draws)) == len(draws)


@given(size=st.integers(1, 200), batch_size=st.integers(1, 50), epoch=numbers)
def test_shuffled_has_each_utterance_once(size: int, batch_size: int, epoch: int) -> None:
    draws = np.concatenate([[], *sampler(np.zeros(size), batch_size).batches(epoch)])
    assert (
        size - len(draws) < batch_size
        and set(draws) <= set(range(size))
        and len(set(draws)) == len(draws)
    )


@given(labels_of_speakers, numbers)
def test_balanced_has_every_speaker_equally_often(labels: np.ndarray, epoch: int) -> None:
    labels = dense(labels)
    draws = np.concatenate(list(sampler(labels, 1, order=BalancedOrder()).batches(epoch)))
    counts = np.bincount(labels[draws % len(labels)])
    assert set(counts) == {-(-len(labels) // len(counts))}


@given(labels_of_speakers, st.sampled_from([2, 4]), st.sampled_from([2, 4]), numbers)
def test_a_grouped_batch_has_k_utterances_of_each_of_p_speakers(
    labels: np.ndarray, speakers: int, utterances: int, epoch: int
) -> None:
    order = GroupedOrder(utterances_per_speaker=utterances)
    for batch in sampler(labels, speakers * utterances, order=order).batches(epoch):
        groups = labels[batch % len(labels)].reshape(speakers, utterances)
        assert (groups == groups[:, :1]).all() and len(set(groups[:, 0])) == speakers
        for group in batch.reshape(speakers, utterances):
            available = int((labels == labels[group[0] % len(labels)]).sum())
            assert len(set(group % len(labels))) >= min(available, utterances) - 1


def test_the_order_depends_on_seed_and_epoch() -> None:
    for order in ORDERS:
        orders = {
            tuple(
                np.concatenate(
                    list(sampler(np.arange(50) % 9, 2, seed, order=order).batches(epoch))
                )
            )
            for seed in range(4)
            for epoch in range(4)
        }
        assert len(orders) == 16


def test_what_an_epoch_drops_another_has() -> None:
    for order in ORDERS:
        labels = np.arange(10) % 3
        seen = {
            int(draw) % 10
            for epoch in range(40)
            for batch in sampler(labels, 4, order=order).batches(epoch)
            for draw in batch
        }
        assert seen == set(range(10))


def test_a_million_utterances_are_ordered_in_a_moment() -> None:
    labels = np.random.default_rng(0).integers(6000, size=1_100_000).astype(np.int32)
    for order in ORDERS:
        batches = sampler(labels, 256, order=order).batches(0)
        assert len(set(next(batches))) == 256


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"share": RankShare(0, 3)}, "3 ranks cannot share equally"),
        (
            {"order": GroupedOrder(utterances_per_speaker=3)},
            "batch_size is 4; GroupedOrder expects 3",
        ),
        (
            {"order": GroupedOrder(utterances_per_speaker=2), "labels": np.zeros(50)},
            "at most 1 speakers",
        ),
    ],
)
def test_a_batch_that_cannot_be_shared_out_is_refused(
    options: dict[str, object], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        sampler(**{"labels": np.arange(10), "batch_size": 4, **options})  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="utterances_per_speaker is 1"):
        GroupedOrder(utterances_per_speaker=1)


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
