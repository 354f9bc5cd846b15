"""ExponentialWarmup: the closed form, and that the optimizer uses exactly these rates."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from probes import Watch, train

from vprtrain.callbacks import ExponentialWarmup
from vprtrain.errors import UsageError


def rates(**options):
    watch = Watch("on_before_optimizer_step", lambda run: run.learning_rate)
    train(ExponentialWarmup(peak=0.4, minimum=0.0002, **options), watch, max_epochs=4)
    return watch.seen


def test_the_whole_course():
    """24 steps, of which 9 are warm-up; WeSpeaker's formula for rates 0.1 and 0.00005, times 4."""
    seen = rates(warmup_epochs=1.5)
    assert len(seen) == 24
    assert seen[0] == 0
    for step in (3, 8, 9, 12, 23):
        decayed = 4 * 0.1 * (0.00005 / 0.1) ** (step / 24)
        assert seen[step] == pytest.approx(decayed * min(1, step / 9), rel=1e-12)


def test_without_warmup_it_starts_at_the_peak():
    assert rates(warmup_epochs=0)[0] == 0.4


@given(warmup=st.integers(0, 40), total=st.integers(41, 400), share=st.floats(1e-6, 1))
def test_after_the_warmup_it_falls_to_the_minimum(warmup, total, share):
    schedule = ExponentialWarmup(minimum=share)
    schedule._start, schedule._warmup_steps, schedule._total_steps = 1.0, warmup, total
    course = [schedule.value(step) for step in range(warmup, total + 1)]
    assert all(later <= earlier for earlier, later in pairwise(course))
    assert course[-1] == pytest.approx(share)


def test_what_cannot_fall_is_refused():
    with pytest.raises(UsageError, match="expected a minimum not above the peak"):
        train(ExponentialWarmup(peak=1e-5, minimum=1e-3), max_epochs=1)
    with pytest.raises(UsageError, match="warmup_epochs is -1"):
        ExponentialWarmup(warmup_epochs=-1)
    with pytest.raises(UsageError, match="minimum is 0"):
        ExponentialWarmup(minimum=0)
