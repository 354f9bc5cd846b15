"""A run that is stopped anywhere and resumed ends with the same bits."""

import json
import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from toy import ToyData, ToyModule

from vprtrain.callbacks import (
    EMA,
    Checkpoint,
    CosineWarmup,
    EarlyStopping,
    MarginSchedule,
    ResumeStep,
    default_callbacks,
)
from vprtrain.checkpoint.state_file import open_checkpoint
from vprtrain.engine import Adam, AdamW, Callback, Engine, Momentum
from vprtrain.engine.seeding import seed_all
from vprtrain.errors import UsageError
from vprtrain.ranks.ranks import Ranks


class StopAt(Callback):
    """Requests a stop in the given step, or in the validation after it."""

    def __init__(self, step, *, in_validation=False):
        self.step, self.in_validation = step, in_validation

    def on_train_batch_start(self, run):
        if run.progress.step + 1 == self.step and not self.in_validation:
            run.request_stop("test")

    def on_validation_batch_end(self, run):
        if run.progress.step >= self.step and self.in_validation:
            run.request_stop("test")


def fit(
    run_dir,
    *extra,
    optimizer=None,
    resume="auto",
    width=16,
    data=None,
    accept_changes=False,
    **options,
):
    seed_all(7)
    options = {
        "max_epochs": 3,
        "validate_every": "4 steps",
        "commit_every": "5 steps",
        "clip_norm": 1.0,
        "log_every": 3,
        "accumulate": 2,
    } | options
    callbacks = [
        *default_callbacks(),
        CosineWarmup(warmup_epochs=0.5),
        MarginSchedule(start_epoch=1, fix_epoch=2),
        EMA(decay=0.9),
        *extra,
    ]
    engine = Engine(
        run_dir=run_dir,
        optimizer=optimizer or Adam(learning_rate=0.01),
        callbacks=callbacks,
        **options,
    )
    return engine.fit(
        ToyModule(width=width),
        data or ToyData(batches=11),
        resume=resume,
        accept_changes=accept_changes,
    )


def outcome(run_dir):
    """What must be equal for all finished runs, however often they were interrupted."""
    last, best = open_checkpoint(run_dir / "last_model"), open_checkpoint(run_dir / "best_model")
    lines = [json.loads(line) for line in (run_dir / "metrics.jsonl").read_text().splitlines()]
    return {
        "last": last.state.to_json(),
        "best": best.state.files,
        "log": [{name: value for name, value in line.items() if name != "time"} for line in lines],
    }


@pytest.fixture(scope="module")
def straight(tmp_path_factory):
    run_dir = tmp_path_factory.mktemp("straight")
    assert fit(run_dir).step == 18
    return outcome(run_dir)


def without_metrics_offset(result):
    """metrics_offset depends on the length of the time fields."""
    return {
        **result,
        "last": {key: value for key, value in result["last"].items() if key != "metrics_offset"},
    }


@given(stops=st.lists(st.tuples(st.integers(1, 18), st.booleans()), min_size=1, max_size=4))
@settings(max_examples=12, deadline=None)
def test_stopped_and_resumed_equals_uninterrupted(straight, tmp_path_factory, stops):
    run_dir = tmp_path_factory.mktemp("stopped")
    for step, in_validation in sorted(stops):
        fit(run_dir, StopAt(step, in_validation=in_validation))
    assert fit(run_dir).stopped_by == "max_epochs"
    assert without_metrics_offset(outcome(run_dir)) == without_metrics_offset(straight)


@pytest.mark.parametrize(
    "optimizer", [AdamW(learning_rate=0.01), Momentum(learning_rate=0.01), Momentum(momentum=0.0)]
)
def test_every_optimizer_resumes_exactly(tmp_path, optimizer):
    fit(tmp_path / "a", optimizer=optimizer)
    fit(tmp_path / "b", StopAt(7), optimizer=optimizer)
    fit(tmp_path / "b", optimizer=optimizer)
    a, b = outcome(tmp_path / "a"), outcome(tmp_path / "b")
    assert a["last"]["files"] == b["last"]["files"]


def test_a_validation_cut_short_is_done_first_after_the_resume(tmp_path):
    result = fit(tmp_path, StopAt(4, in_validation=True))
    assert (result.step, result.stopped_by) == (4, "test")
    state = open_checkpoint(tmp_path / "last_model").state.to_json()
    assert state["validation_pending"] is True
    assert state["error"] is None
    events = []

    class Watch(Callback):
        def on_validation_end(self, run, metrics):
            events.append(("validation", run.progress.step))

        def on_train_batch_start(self, run):
            events.append(("step", run.progress.step + 1))

    fit(tmp_path, Watch())
    assert events[:2] == [("validation", 4), ("step", 5)]


def test_a_finished_run_is_left_alone(tmp_path):
    fit(tmp_path)
    before = outcome(tmp_path)
    result = fit(tmp_path)
    assert (result.stopped_by, result.step) == ("max_epochs", 18)
    assert outcome(tmp_path) == before


def test_observers_do_not_change_the_weights(tmp_path, straight):
    class Observer(Callback):
        def on_train_batch_end(self, run):
            np.random.rand()

    fit(tmp_path, Observer(), log_every=1, commit_every="2 steps")
    assert (
        outcome(tmp_path)["last"]["files"]["model.pdparams"]
        == straight["last"]["files"]["model.pdparams"]
    )
    assert outcome(tmp_path)["best"]["model.pdparams"] == straight["best"]["model.pdparams"]


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"max_epochs": 4}, "config.max_epochs was 3, is 4"),
        ({"clip_norm": 2.0}, "config.clip_norm was 1.0, is 2.0"),
        (
            {"optimizer": Adam(learning_rate=0.02)},
            "config.optimizer.learning_rate was 0.01, is 0.02",
        ),
        ({"width": 8}, "config.module.width was 16, is 8"),
        ({"data": ToyData(batches=11, seed=1)}, "data.seed was 0, is 1"),
    ],
)
def test_a_changed_run_is_refused_with_what_changed(tmp_path, change, named):
    fit(tmp_path, StopAt(6))
    with pytest.raises(UsageError, match=named):
        fit(tmp_path, **change)


def test_what_cannot_change_the_weights_is_not_refused(tmp_path):
    fit(tmp_path, StopAt(6))
    assert (
        fit(tmp_path, log_every=7, commit_every="1 epoch", max_time=9.0).stopped_by == "max_epochs"
    )


def test_changes_can_be_accepted(tmp_path, caplog):
    fit(tmp_path, StopAt(6))
    result = fit(tmp_path, max_epochs=4, accept_changes=True)
    assert result.step == 24
    assert "config.max_epochs was 3, is 4" in caplog.text


def test_callbacks_with_a_state_must_be_the_same(tmp_path):
    fit(tmp_path, StopAt(6), EarlyStopping(patience=50))
    with pytest.raises(UsageError, match="EarlyStopping"):
        fit(tmp_path)


def test_a_position_needs_the_callback_that_applies_it(tmp_path):
    Engine(run_dir=tmp_path, max_steps=3, callbacks=[Checkpoint()]).fit(ToyModule(), ToyData())
    with pytest.raises(UsageError, match="without the ResumeStep callback"):
        Engine(run_dir=tmp_path, max_steps=3, callbacks=[Checkpoint()]).fit(ToyModule(), ToyData())


def test_never_refuses_a_directory_with_a_run(tmp_path):
    fit(tmp_path, StopAt(2))
    with pytest.raises(UsageError, match="holds an earlier run's checkpoints"):
        fit(tmp_path, resume="never")
    assert fit(tmp_path / "new", StopAt(2), resume="never").step == 2


def test_an_earlier_generation_can_be_gone_back_to(tmp_path):
    straight = fit(tmp_path / "straight")
    fit(tmp_path / "run", StopAt(13))
    generations = sorted(path.name for path in (tmp_path / "run").glob("*_[0-9]*"))
    early = next(
        name for name in generations if open_checkpoint(tmp_path / "run" / name).state.step < 13
    )
    assert fit(tmp_path / "run", resume=tmp_path / "run" / early).step == straight.step
    assert (
        outcome(tmp_path / "run")["last"]["files"]
        == outcome(tmp_path / "straight")["last"]["files"]
    )
    with pytest.raises(UsageError, match="is not a generation of the run in"):
        fit(tmp_path / "other", resume=tmp_path / "run")


def test_a_run_can_start_from_the_weights_of_another(tmp_path, caplog):
    caplog.set_level("INFO")
    fit(tmp_path / "old")

    class Wider(ToyModule):
        """Only the last layer differs."""

        def __init__(self):
            super().__init__()
            import paddle

            self.layers[4] = paddle.nn.Linear(16, 2)

    module = Wider()
    module.layers[4].bias.set_value(np.full(2, 5.0, "float32"))
    engine = Engine(
        max_steps=1, fast_dev_run=1, optimizer=Momentum(learning_rate=0.0, momentum=0.0)
    )
    engine.fit(module, ToyData(), init_from=tmp_path / "old")
    averaged = open_checkpoint(tmp_path / "old" / "best_model").arrays("ema.pdparams")
    np.testing.assert_array_equal(module.layers[0].weight.numpy(), averaged["layers.0.weight"])
    np.testing.assert_array_equal(module.layers[4].bias.numpy(), [5.0, 5.0])
    assert (
        "not initialised (missing in the checkpoint, or of another shape): layers.4.weight"
        in caplog.text
    )

    class Other(ToyModule):
        def state_dict(self, *args, **kwargs):
            return {
                f"other.{name}": value
                for name, value in super().state_dict(*args, **kwargs).items()
            }

    with pytest.raises(UsageError, match=r"no array of .* fits this module"):
        Engine(max_steps=1).fit(Other(), ToyData(), init_from=tmp_path / "old")


def test_only_the_first_rank_opens_what_a_run_begins_from():
    """It broadcasts the weights; on a resume, that checkpoint may have been removed."""

    class Second(Ranks):
        rank = 1

    assert (
        Engine(max_steps=1, ranks=Second()).fit(ToyModule(), ToyData(), init_from="gone").step == 1
    )


def test_validate_gives_the_figures_of_fit(tmp_path):
    result = fit(tmp_path)
    engine = Engine(max_epochs=1)
    last = engine.validate(ToyModule(), ToyData(batches=11), tmp_path / "last_model")
    assert last == result.metrics
    state = open_checkpoint(tmp_path / "best_model").state.to_json()
    best = engine.validate(ToyModule(), ToyData(batches=11), tmp_path)
    assert best["error"] == state["error"] == state["best_error"]
    with pytest.raises(UsageError, match="is not a checkpoint"):
        engine.validate(ToyModule(), ToyData(), tmp_path / "nothing")


def test_a_stop_from_another_thread_is_honoured_while_data_is_awaited(tmp_path):
    """The stop takes effect after the step for which the loop waits."""
    waiting, go_on = threading.Event(), threading.Event()

    class Waiting(ToyData):
        def train_batches(self, epoch, start):
            for index, batch in enumerate(super().train_batches(epoch, start)):
                if index == 3:
                    waiting.set()
                    go_on.wait(10)
                yield batch

    engine = Engine(run_dir=tmp_path, max_epochs=1, callbacks=[ResumeStep(), Checkpoint()])

    def stop():
        waiting.wait(10)
        engine.request_stop("elsewhere")
        go_on.set()

    thread = threading.Thread(target=stop)
    thread.start()
    result = engine.fit(ToyModule(), Waiting())
    thread.join()
    assert (result.stopped_by, result.step) == ("elsewhere", 4)
