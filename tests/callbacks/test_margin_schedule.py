"""MarginSchedule: the closed forms, and that the module uses exactly these margins."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from probes import StopAfter, Watch, last, train
from toy import ToyModule

from vprtrain.callbacks import MarginSchedule
from vprtrain.errors import UsageError

SCHEDULE = {
    "initial": 0.1,
    "final": 0.5,
    "start_epoch": 1.0,
    "fix_epoch": 3.0,
}  # with 6 steps per epoch the margin grows from step 6 to step 18


class Noting(ToyModule):
    """Records the margin of each training step."""

    def __init__(self):
        super().__init__()
        self.margins = []

    def training_step(self, batch):
        self.margins.append(self.margin)
        return super().training_step(batch)


def margins(*callbacks, **options):
    return train(*callbacks, module=Noting, **{"max_epochs": 4} | options).module.margins


def test_exponential_growth():
    seen = margins(MarginSchedule(**SCHEDULE))
    assert len(seen) == 24
    assert seen[:7] == [0.1] * 7
    for step in (7, 12, 17):
        # WeSpeaker's form: a power of 1e-3 / (1 + 1e-6)
        expected = 0.1 + 0.4 * (1 - (1e-3 / (1 + 1e-6)) ** ((step - 6) / 12))
        assert seen[step] == pytest.approx(expected, rel=1e-12)
    assert seen[17] < 0.5
    assert seen[18:] == [0.5] * 6


def test_linear_growth():
    seen = margins(MarginSchedule(**SCHEDULE, growth="linear"))
    assert seen[:7] == [0.1] * 7
    np.testing.assert_allclose(seen[6:19], np.linspace(0.1, 0.5, 13), rtol=1e-12)
    assert seen[18:] == [0.5] * 6


def test_a_jump_where_start_and_fix_coincide():
    seen = margins(
        MarginSchedule(initial=0.0, final=0.2, start_epoch=0.5, fix_epoch=0.5), max_epochs=1
    )
    assert seen == [0.0] * 3 + [0.2] * 3


@given(
    start=st.integers(0, 30),
    length=st.integers(0, 30),
    initial=st.floats(0, 0.5),
    rise=st.floats(0, 0.5),
    growth=st.sampled_from(["exponential", "linear"]),
)
def test_grows_from_initial_to_final_and_never_beyond(start, length, initial, rise, growth):
    schedule = MarginSchedule(initial=initial, final=initial + rise, growth=growth)
    schedule._start_step, schedule._fix_step = start, start + length
    course = np.array([schedule.value(step) for step in range(start + length + 3)])
    assert (np.diff(course) >= -1e-12).all()
    assert (course >= initial).all()
    assert (course <= initial + rise + 1e-12).all()
    assert (course[start + length :] == initial + rise).all()
    if length:
        assert (course[: start + 1] == initial).all()


def test_exponential_growth_is_ahead_of_linear_and_nearly_there_at_the_end():
    schedule = MarginSchedule(initial=0.0, final=1.0)
    schedule._start_step, schedule._fix_step = 0, 1000
    assert schedule.value(100) == pytest.approx(1 - math.pow(1e-3, 0.1), rel=1e-4)
    assert schedule.value(999) == pytest.approx(1 - 1e-3, rel=1e-2)


def test_a_resumed_run_goes_on_with_the_same_margins(tmp_path):
    whole = margins(MarginSchedule(**SCHEDULE))
    head = margins(MarginSchedule(**SCHEDULE), StopAfter(11), run_dir=tmp_path)
    assert last(tmp_path).state.own["margin"] == head[-1]
    tail = margins(MarginSchedule(**SCHEDULE), run_dir=tmp_path)
    assert head + tail == whole


def test_the_margin_of_the_checkpoint_is_back_before_the_first_step(tmp_path):
    first = train(MarginSchedule(**SCHEDULE), StopAfter(11), run_dir=tmp_path, max_epochs=4)
    watch = Watch("on_fit_start", lambda run: run.module.margin)
    train(MarginSchedule(**SCHEDULE), watch, StopAfter(12), run_dir=tmp_path, max_epochs=4)
    assert watch.seen == [first.module.margin]
    assert first.module.margin == pytest.approx(
        0.1 + 0.4 * (1 - (1e-3 / (1 + 1e-6)) ** (4 / 12)), rel=1e-12
    )


def test_a_module_without_margin_is_refused():
    class Plain(ToyModule):
        scheduled = ()

    with pytest.raises(UsageError, match="Plain or its loss has none"):
        train(MarginSchedule(), module=Plain)


@pytest.mark.parametrize(("start", "fix"), [(3.0, 2.0), (-1.0, 2.0)])
def test_epochs_out_of_order_are_refused(start, fix):
    with pytest.raises(UsageError, match="expected 0 <= start_epoch <= fix_epoch"):
        MarginSchedule(start_epoch=start, fix_epoch=fix)
