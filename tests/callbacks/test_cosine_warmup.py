"""CosineWarmup: the closed form, and that the optimizer uses exactly these rates."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from probes import StopAfter, Watch, train
from toy import ToyData

from vprtrain.callbacks import CosineWarmup
from vprtrain.engine import Momentum
from vprtrain.errors import UsageError

PEAK, MINIMUM = 0.1, 0.001


def rates(warmup_epochs=1.5, **options):
    watch = Watch("on_before_optimizer_step", lambda run: run.learning_rate)
    train(
        CosineWarmup(peak=PEAK, minimum=MINIMUM, warmup_epochs=warmup_epochs),
        watch,
        **{"max_epochs": 4} | options,
    )
    return watch.seen


def test_the_whole_course():
    """24 steps, of which 9 are warm-up."""
    seen = rates()
    assert len(seen) == 24
    assert seen[0] == MINIMUM
    assert seen[8] == pytest.approx(MINIMUM + (PEAK - MINIMUM) * 8 / 9, rel=1e-12)
    assert seen[9] == pytest.approx(PEAK, rel=1e-12)
    assert seen[14] == pytest.approx(
        MINIMUM + (PEAK - MINIMUM) * 0.5 * (1 + math.cos(math.pi / 3)), rel=1e-12
    )
    assert seen[23] == pytest.approx(
        MINIMUM + (PEAK - MINIMUM) * 0.5 * (1 - math.cos(math.pi / 15)), rel=1e-12
    )


def test_the_middle_of_the_cosine_is_the_mean():
    """Without warm-up, after 12 of 24 steps."""
    seen = rates(warmup_epochs=0)
    assert seen[0] == pytest.approx(PEAK, rel=1e-12)
    assert seen[12] == pytest.approx((PEAK + MINIMUM) / 2, rel=1e-12)


@given(
    warmup=st.integers(0, 40),
    cosine=st.integers(1, 60),
    peak=st.floats(1e-6, 10),
    share=st.floats(0, 1),
)
def test_rises_then_falls_between_minimum_and_peak(warmup, cosine, peak, share):
    schedule = CosineWarmup(peak=peak, minimum=share * peak)
    schedule._warmup_steps, schedule._total_steps = warmup, warmup + cosine
    schedule._height = peak - share * peak
    course = np.array([schedule.value(step) for step in range(warmup + cosine + 1)])
    slack = 1e-12 * peak
    assert (np.diff(course[: warmup + 1]) >= -slack).all()
    assert (np.diff(course[warmup:]) <= slack).all()
    assert course.min() >= share * peak - slack
    assert course[warmup] == pytest.approx(peak)
    assert course[-1] == pytest.approx(share * peak)


def test_the_optimizer_steps_with_it():
    """Plain SGD: each update is the gradient times the rate of that step."""
    before = Watch(
        "on_before_optimizer_step",
        lambda run: (
            run.module.layers[4].weight.numpy(),
            run.module.layers[4].weight.grad.numpy(),
            run.learning_rate,
        ),
    )
    after = Watch("on_train_batch_end", lambda run: run.module.layers[4].weight.numpy())
    train(
        CosineWarmup(peak=PEAK, minimum=MINIMUM, warmup_epochs=1.0),
        before,
        after,
        optimizer=Momentum(momentum=0.0, learning_rate=7.0),
    )
    assert len({rate for _, _, rate in before.seen}) > 10
    for (old, gradient, rate), new in zip(before.seen, after.seen, strict=True):
        np.testing.assert_allclose(old - new, np.float32(rate) * gradient, rtol=1e-4, atol=1e-6)


def test_the_peak_is_the_optimizers_own_rate_by_default():
    watch = Watch("on_before_optimizer_step", lambda run: run.learning_rate)
    train(CosineWarmup(warmup_epochs=1.0), watch, optimizer=Momentum(learning_rate=0.03))
    assert max(watch.seen) == pytest.approx(0.03)


def test_counts_optimizer_steps_where_batches_accumulate():
    """6 batches in groups of 4 are 2 steps per epoch: 8 steps, of which 2 are warm-up."""
    seen = rates(warmup_epochs=1.0, accumulate=4)
    assert len(seen) == 8
    assert seen[1] == pytest.approx((PEAK + MINIMUM) / 2)
    assert seen[2] == pytest.approx(PEAK)


def test_a_resumed_run_goes_on_with_the_same_rates(tmp_path):
    whole = rates()
    head = Watch("on_before_optimizer_step", lambda run: run.learning_rate)
    tail = Watch("on_before_optimizer_step", lambda run: run.learning_rate)
    schedule = {"peak": PEAK, "minimum": MINIMUM, "warmup_epochs": 1.5}
    train(CosineWarmup(**schedule), head, StopAfter(7), run_dir=tmp_path, max_epochs=4)
    train(CosineWarmup(**schedule), tail, run_dir=tmp_path, max_epochs=4)
    assert head.seen + tail.seen == whole


def test_another_schedule_is_refused_on_resume(tmp_path):
    train(CosineWarmup(peak=0.1, warmup_epochs=1.0), StopAfter(3), run_dir=tmp_path)
    with pytest.raises(UsageError, match=r"CosineWarmup\.peak was 0\.1, is 0\.2"):
        train(CosineWarmup(peak=0.2, warmup_epochs=1.0), run_dir=tmp_path)


def test_a_warm_up_as_long_as_the_training_is_refused():
    with pytest.raises(
        UsageError,
        match=r"2\.0 epochs \(12 steps\) is not shorter than the training \(12 steps\): train "
        r"longer \(max_steps, max_epochs\), or lower warmup_epochs; --engine.fast_dev_run 20 ",
    ):
        train(CosineWarmup(warmup_epochs=2.0), data=ToyData(batches=6))


def test_a_negative_warm_up_is_refused():
    with pytest.raises(UsageError, match="warmup_epochs is -1"):
        CosineWarmup(warmup_epochs=-1)
