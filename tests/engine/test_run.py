"""The state of a run: fresh for each fit, moved by the loop alone, small for a validation."""

import ast
from pathlib import Path

import numpy as np
import pytest
from toy import ToyData, ToyModule

import vprtrain
from vprtrain.callbacks import default_callbacks
from vprtrain.engine import Callback, Engine, LiveState, Progress, Run, ValidationRun
from vprtrain.engine.seeding import seed_all
from vprtrain.errors import UsageError

SHARED = {"settings", "ranks"}
"""What the runs of one Engine have in common: frozen settings and the processes."""


class Seen(Callback):
    """Records the runs that the hooks receive."""

    def __init__(self):
        self.fits, self.validations = [], []

    def on_fit_start(self, run):
        self.fits.append(run)

    def on_validation_start(self, run):
        self.validations.append(run)


def fit(engine):
    seed_all(5)
    module = ToyModule()
    result = engine.fit(module, ToyData())
    return result, [tensor.numpy() for tensor in module.state_dict().values()]


def test_two_fits_of_one_engine_share_nothing():
    seen = Seen()
    engine = Engine(max_epochs=2, log_every=2, callbacks=[seen])
    results, weights = zip(fit(engine), fit(engine), strict=True)
    assert results[0] == results[1]
    for one, other in zip(*weights, strict=True):
        np.testing.assert_array_equal(one, other)
    first, second = map(vars, seen.fits)
    assert first.keys() == second.keys()
    for name in first.keys() - SHARED:
        plain = isinstance(first[name], bool | int | float | type(None))
        assert plain or first[name] is not second[name], name


def test_a_request_of_one_fit_does_not_reach_the_next():
    class StopsOnce(Callback):
        stopped = False

        def on_train_batch_end(self, run):
            if not self.stopped:
                self.stopped = True
                run.request_stop("once")

    engine = Engine(max_epochs=1, callbacks=[StopsOnce()])
    first, second = fit(engine)[0], fit(engine)[0]
    assert (first.stopped_by, first.step) == ("once", 1)
    assert (second.stopped_by, second.step) == ("max_epochs", 6)


def test_between_runs_a_request_has_no_effect():
    engine = Engine(max_epochs=1)
    assert engine.live == LiveState()
    for _ in range(2):
        engine.request_stop("too early")
        engine.request_validation()
        engine.request_end_of_validation()
        engine.request_commit("too early")
        assert fit(engine)[0].stopped_by == "max_epochs"
    assert (engine.live.step, engine.live.max_steps) == (6, 6)


def test_a_validation_alone_needs_no_training(tmp_path):
    seen = Seen()
    engine = Engine(max_epochs=1, run_dir=tmp_path, callbacks=[*default_callbacks(), seen])
    fit(engine)
    metrics = engine.validate(ToyModule(), ToyData(), tmp_path)
    within, alone = seen.validations
    assert within is seen.fits[0] and isinstance(within, Run)
    assert isinstance(alone, ValidationRun) and not isinstance(alone, Run)
    assert (alone.metrics, alone.metrics_step) == (metrics, 6)
    assert engine.live == LiveState(epoch=1, step=6, metrics=metrics)


def test_settings_are_frozen():
    settings = Engine(max_epochs=1).settings
    with pytest.raises(AttributeError):
        settings.max_epochs = 2
    with pytest.raises(UsageError, match="agree_every is 0; expected a whole number, 1 or more"):
        Engine(max_epochs=1, agree_every=0)


def test_only_the_loop_moves_a_run_and_only_resume_step_restores_its_position():
    callers = {"move_to": set(), "restore_position": set()}
    for file in Path(vprtrain.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                callers.get(node.func.attr, set()).add(file.name)
    assert callers == {"move_to": {"loop.py"}, "restore_position": {"resume_step.py"}}
    engine = Engine(max_epochs=1)
    fit(engine)
    with pytest.raises(AttributeError, match="progress"):
        engine.run.progress = Progress()
