"""Intervals as written in a configuration."""

import pytest

from vprtrain.engine.interval import Interval
from vprtrain.errors import UsageError


@pytest.mark.parametrize(
    ("text", "interval", "again"),
    [
        ("1 epoch", Interval(epochs=1), "1 epochs"),
        ("3 epochs", Interval(epochs=3), "3 epochs"),
        ("500 steps", Interval(steps=500), "500 steps"),
        ("0.5 minutes", Interval(minutes=0.5), "0.5 minutes"),
        ("never", Interval(), "never"),
    ],
)
def test_reads_what_it_writes(text, interval, again):
    assert Interval.parse(text, option="x") == interval
    assert str(interval) == again
    assert Interval.parse(again, option="x") == interval
    assert interval.never == (text == "never")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "3",
        "epochs",
        "0 steps",
        "-2 epochs",
        "1.5 epochs",
        "2 hours",
        "nan minutes",
        "1 2 steps",
    ],
)
def test_refuses_what_is_no_interval(text):
    with pytest.raises(UsageError, match="commit_every is"):
        Interval.parse(text, option="commit_every")


def test_ends_at_its_multiples_only():
    assert [step for step in range(10) if Interval(steps=3).after_step(step)] == [3, 6, 9]
    assert [epoch for epoch in range(1, 7) if Interval(epochs=2).after_epoch(epoch)] == [2, 4, 6]
    assert not any(Interval(epochs=1).after_step(step) for step in range(10))


@pytest.mark.parametrize(
    ("text", "times"), [("5 steps", 4), ("2 epochs", 3), ("1 minute", 0), ("never", 0)]
)
def test_how_often_it_ends_in_so_many_steps(text, times):
    assert Interval.parse(text, option="validate_every").times_in(24, steps_per_epoch=4) == times
