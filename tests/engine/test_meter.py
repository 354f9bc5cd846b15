"""The mean loss of an interval, and the times of steps, waits and validations."""

import paddle
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vprtrain.engine.meter import LossMeter, Stopwatch

losses = st.lists(st.floats(-1e6, 1e6, width=32), min_size=1, max_size=20)


def filled(meter, values):
    for value in values:
        meter.add(paddle.to_tensor(value, dtype="float32"))
    return meter


@given(values=losses, cut=st.integers(0, 20))
def test_an_interval_cut_by_a_checkpoint_has_the_same_mean(values, cut):
    whole = filled(LossMeter(), values).read({})["loss"]
    first = filled(LossMeter(), values[:cut])
    first.read({})
    second = LossMeter()
    second.load_state_dict(first.state_dict())
    assert filled(second, values[cut:]).read({})["loss"] == whole
    assert whole == pytest.approx(sum(values) / len(values), rel=1e-6, abs=1e-3)


def test_scalars_of_any_shape_and_type_come_with_it():
    meter = filled(LossMeter(), [1.0, 3.0])
    scalars = {"accuracy": paddle.to_tensor([0.5]), "count": paddle.to_tensor(7)}
    assert meter.read(scalars) == {"loss": 2.0, "accuracy": 0.5, "count": 7.0}
    meter.reset()
    assert meter.read({}) == {}


def test_waits_steps_and_what_is_left():
    now = [0.0]
    watch = Stopwatch(lambda: now[0])
    assert watch.eta(10, 0) is None
    for wait, work in ((1.0, 3.0), (0.0, 4.0), (2.0, 2.0)):
        watch.start()
        now[0] += wait
        watch.fetched()
        now[0] += work
        watch.stepped()
        now[0] += 100.0  # a validation or a commit, which is not part of the step
    watch.validated(50.0)
    assert watch.data_wait_share == pytest.approx(3 / 12)
    assert watch.steps_per_second == pytest.approx(3 / 12)
    assert watch.eta(10, 2) == pytest.approx(10 * 4 + 2 * 50)
