"""SpecAugment: where masks lie, how often, and that they depend on the step's seed only."""

from __future__ import annotations

import numpy as np
import paddle
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vprtrain.engine.seeding import key
from vprtrain.errors import UsageError
from vprtrain.features import SpecAugment


def runs(masked: np.ndarray) -> list[int]:
    """The lengths of the runs of consecutive true values."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], masked.astype(int), [0]])))
    return (edges[1::2] - edges[::2]).tolist()


def masked_axes(features: paddle.Tensor) -> tuple[np.ndarray, np.ndarray]:
    """The frames ``[batch, frames]`` and the values ``[batch, size]`` that are entirely masked."""
    blank = features.numpy() == 0
    return blank.all(axis=2), blank.all(axis=1)


@given(
    max_time=st.integers(0, 30),
    max_freq=st.integers(0, 8),
    counts=st.tuples(st.integers(0, 3), st.integers(0, 3)),
    seed=st.integers(0, 1000),
)
@settings(deadline=None, max_examples=30)
def test_masks_are_as_many_and_as_wide_as_asked(
    max_time: int, max_freq: int, counts: tuple[int, int], seed: int
) -> None:
    times, values = counts
    augment = SpecAugment(
        max_time_mask=max_time,
        max_freq_mask=max_freq,
        num_time_masks=times,
        num_freq_masks=values,
        prob=1.0,
    )
    paddle.seed(seed)
    out = augment(paddle.ones([8, 200, 40]))
    frames, sizes = masked_axes(out)
    for masked, count, widest in ((frames, times, max_time), (sizes, values, max_freq)):
        for row in masked:
            assert len(runs(row)) <= count and row.sum() <= count * widest
    expected = ~(frames[:, :, None] | sizes[:, None, :])
    np.testing.assert_array_equal(out.numpy(), expected.astype("float32"))


def test_widths_and_places_are_uniform() -> None:
    paddle.seed(0)
    frames, sizes = masked_axes(
        SpecAugment(max_time_mask=4, max_freq_mask=3, prob=1.0)(paddle.ones([20000, 12, 6]))
    )
    for masked, widest, size in ((frames, 4, 12), (sizes, 3, 6)):
        widths = masked.sum(axis=1)
        np.testing.assert_allclose(
            np.bincount(widths) / len(widths), np.full(widest + 1, 1 / (widest + 1)), atol=0.02
        )
        starts = masked[widths == widest].argmax(axis=1)
        places = size - widest + 1
        np.testing.assert_allclose(
            np.bincount(starts) / len(starts), np.full(places, 1 / places), atol=0.03
        )


def test_an_utterance_is_masked_with_the_given_probability() -> None:
    paddle.seed(0)
    out = SpecAugment(max_time_mask=1000, max_freq_mask=0, prob=0.3)(paddle.ones([4000, 1000, 1]))
    assert (out.numpy() == 0).any(axis=(1, 2)).mean() == pytest.approx(0.3, abs=0.03)
    features = paddle.randn([4, 50, 8])
    np.testing.assert_array_equal(SpecAugment(prob=0.0)(features).numpy(), features.numpy())


def test_time_masks_lie_within_the_real_frames() -> None:
    paddle.seed(0)
    lengths = np.array([100, 40, 12, 3, 0] * 200)
    augment = SpecAugment(max_time_mask=10, max_freq_mask=0, prob=1.0)
    frames, _ = masked_axes(augment(paddle.ones([1000, 100, 1]), paddle.to_tensor(lengths)))
    for length in (100, 40, 12):
        own = frames[lengths == length]
        assert not own[:, length:].any()
        assert own[:, length - 1].any() and own[:, 0].any()  # the masks reach both ends
        assert own.sum(axis=1).mean() == pytest.approx(5, abs=1)
    assert not frames[lengths == 3][:, 10:].any()


def test_utterances_are_masked_independently() -> None:
    paddle.seed(0)
    out = SpecAugment(prob=1.0)(paddle.ones([64, 100, 40])).numpy()
    assert len({row.tobytes() for row in out}) > 55


def test_masks_are_a_function_of_the_steps_seed() -> None:
    augment, features = SpecAugment(num_time_masks=2), paddle.ones([16, 100, 40])

    def drawn(step: int) -> np.ndarray:
        paddle.seed(key(3, 0, step))
        return augment(features).numpy()

    straight = [drawn(step) for step in range(3)]
    assert (straight[0] != straight[1]).any()
    np.testing.assert_array_equal(drawn(2), straight[2])  # like a run that resumes at step 2


def test_evaluation_mode_changes_and_draws_nothing() -> None:
    augment, features = SpecAugment(prob=1.0), paddle.randn([4, 50, 8])
    augment.eval()
    before = paddle.get_rng_state()[0].__getstate__()
    np.testing.assert_array_equal(augment(features).numpy(), features.numpy())
    assert paddle.get_rng_state()[0].__getstate__() == before


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_time_mask": -1}, "max_time_mask is -1"),
        ({"num_freq_masks": -2}, "num_freq_masks is -2"),
        ({"prob": 1.5}, "prob is 1.5"),
    ],
)
def test_impossible_options_are_refused(options: dict, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        SpecAugment(**options)
