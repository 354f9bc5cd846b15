"""Profiler: the trace, and the same weights."""

import json

import pytest
from probes import StopAfter, assert_equal_arrays, train

from vprtrain.callbacks import Profiler
from vprtrain.errors import UsageError


def steps(path):
    """How many steps a trace holds, and whether it names an operator of the forward pass."""
    names = [event.get("name", "") for event in json.loads(path.read_text())["traceEvents"]]
    recorded = {name.partition("[")[0] for name in names if name.startswith("ProfileStep#")}
    return len(recorded), any("batch_norm" in name for name in names)


def test_a_trace_of_some_steps_and_the_same_weights(tmp_path):
    profiled = train(Profiler(first_step=3, steps=4), run_dir=tmp_path)
    assert steps(tmp_path / "trace_3.json") == (4, True)
    assert_equal_arrays(profiled.weights, train().weights)


def test_the_end_of_the_run_ends_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run_dir = tmp_path / "run"
    profiler = Profiler(first_step=2, steps=50)
    train(profiler, StopAfter(4), run_dir=run_dir)
    assert steps(run_dir / "trace_2.json")[0] >= 3
    train(profiler, run_dir=run_dir)  # past these steps
    train(profiler)  # writes nothing
    assert list(tmp_path.iterdir()) == [run_dir]
    assert [path.name for path in run_dir.glob("trace*")] == ["trace_2.json"]


@pytest.mark.parametrize("options", [{"first_step": 0}, {"steps": 0}])
def test_what_is_out_of_range_is_refused(options):
    with pytest.raises(UsageError, match="is 0"):
        Profiler(**options)
