"""Fitting: any module trains, every limit holds, hooks are called in the documented order."""

import math
import threading

import numpy as np
import paddle
import pytest
from fetch_counter import FetchCounter
from toy import ToyData, ToyModule

from vprtrain.callbacks import EMA, Checkpoint, CosineWarmup, ResumeStep, default_callbacks
from vprtrain.engine import Adam, AdamW, Callback, DataModule, Engine, Module, Momentum
from vprtrain.engine.callback import EVENTS
from vprtrain.engine.seeding import seed_all
from vprtrain.errors import RunError, UsageError


class Line(Module):
    """The smallest thing that trains: y = w x."""

    def __init__(self):
        super().__init__()
        self.w = self.create_parameter([1])

    def training_step(self, batch):
        return ((self.w * batch[0] - batch[1]) ** 2).mean(), {}


class LineData(DataModule):
    steps_per_epoch = 50

    def train_batches(self, epoch, start):
        return (
            (paddle.to_tensor([x]), paddle.to_tensor([3.0 * x]))
            for x in np.linspace(0.5, 1, 50)[start:].tolist()
        )

    def fingerprint(self):
        return {"line": 3.0}


def test_trains_anything():
    module = Line()
    result = Engine(max_epochs=4, optimizer=Adam(learning_rate=0.05)).fit(module, LineData())
    assert (result.stopped_by, result.epoch, result.step) == ("max_epochs", 4, 200)
    assert result.metrics == {}
    assert module.w.item() == pytest.approx(3.0, abs=0.05)


@pytest.mark.parametrize(
    "factory",
    [
        Adam(learning_rate=0.02),
        AdamW(learning_rate=0.02),
        Momentum(learning_rate=0.005),
        Momentum(learning_rate=0.02, momentum=0.0),
        Adam(learning_rate=0.02, weight_decay=0.01),
    ],
)
def test_every_optimizer_lowers_the_loss(factory):
    seed_all(3)
    losses = []

    class Watch(Callback):
        def on_log(self, run):
            losses.append(run.scalars["loss"])

    Engine(max_epochs=20, optimizer=factory, log_every=1, callbacks=[Watch()], clip_norm=5.0).fit(
        ToyModule(), ToyData()
    )
    assert np.mean(losses[-6:]) < 0.9 * np.mean(losses[:6])


class Recorder(Callback):
    """Records every event with the position at that moment."""

    def __init__(self):
        self.events = []


for _event in EVENTS:
    setattr(
        Recorder,
        _event,
        lambda self, run, *_, event=_event: self.events.append(
            (event, run.progress.step, run.progress.epoch)
        ),
    )


def test_hooks_come_in_the_order_of_the_contract(tmp_path):
    recorder = Recorder()
    Engine(
        run_dir=tmp_path,
        max_epochs=1,
        validate_every="1 epoch",
        commit_every="1 epoch",
        callbacks=[Checkpoint(), recorder],
    ).fit(ToyModule(), ToyData(batches=2))
    step = ["on_train_batch_start", "on_before_optimizer_step", "on_train_batch_end"]
    validation = [
        "on_validation_start",
        "on_validation_batch_end",
        "on_validation_batch_end",
        "on_validation_end",
    ]
    names = [event for event, _, _ in recorder.events]
    step_1 = [*step, "on_log"]  # the first step is a log point
    assert names == [
        "on_fit_start",
        "on_train_epoch_start",
        *step_1,
        *step,
        *validation,
        "on_train_epoch_end",
        "on_commit",
        "on_fit_end",
    ]
    at = dict((event, (step, epoch)) for event, step, epoch in recorder.events)
    assert at["on_before_optimizer_step"] == (1, 0)  # in the second step, which is not counted yet
    assert at["on_train_batch_end"] == (2, 0)
    assert at["on_train_epoch_end"] == (2, 0)
    assert at["on_commit"] == (2, 1)


@pytest.mark.parametrize(
    ("limits", "stopped_by", "step", "epoch"),
    [
        ({"max_epochs": 2}, "max_epochs", 12, 2),
        ({"max_steps": 8}, "max_steps", 8, 1),
        ({"max_epochs": 1, "max_steps": 8}, "max_epochs", 6, 1),
        ({"max_epochs": 2, "accumulate": 4}, "max_epochs", 4, 2),
    ],
)
def test_limits(limits, stopped_by, step, epoch):
    result = Engine(**limits).fit(ToyModule(), ToyData(batches=6))
    assert (result.stopped_by, result.step, result.epoch) == (stopped_by, step, epoch)


def test_max_time_stops_this_call_and_the_next_one_goes_on(tmp_path):
    seconds = iter(range(10**6))

    def fit():
        engine = Engine(
            run_dir=tmp_path,
            max_epochs=50,
            max_time=100 / 3600,
            validate_every="never",
            clock=lambda: float(next(seconds)),
            callbacks=[ResumeStep(), Checkpoint()],
        )
        return engine.fit(ToyModule(), ToyData())

    first = fit()
    assert first.stopped_by == "max_time"
    assert 0 < first.step < 300
    assert fit().step > first.step


def test_accumulated_batches_make_the_step_of_one_large_batch():
    x = np.random.default_rng(0).standard_normal((8, 8)).astype("float32")
    y = x.sum(1, keepdims=True)

    class Linear(Module):
        def __init__(self):
            super().__init__()
            self.layer = paddle.nn.Linear(8, 1, weight_attr=paddle.nn.initializer.Constant(0.1))

        def training_step(self, batch):
            return paddle.nn.functional.mse_loss(
                self.layer(paddle.to_tensor(batch[0])), paddle.to_tensor(batch[1])
            ), {}

    class Data(DataModule):
        def __init__(self, batch_size):
            self.size = batch_size
            self.steps_per_epoch = 8 // batch_size

        steps_per_epoch = 0

        def train_batches(self, epoch, start):
            return (
                (x[i : i + self.size], y[i : i + self.size])
                for i in range(start * self.size, 8, self.size)
            )

        def fingerprint(self):
            return {}

    weights = []
    for batch_size, accumulate in ((8, 1), (2, 4)):
        module = Linear()
        Engine(max_epochs=3, accumulate=accumulate, clip_norm=0.5, optimizer=Momentum()).fit(
            module, Data(batch_size)
        )
        weights.append(module.layer.weight.numpy())
    np.testing.assert_allclose(*weights, rtol=1e-5)


def test_fast_dev_run_tries_everything_and_writes_nothing(tmp_path):
    recorder = Recorder()
    result = Engine(
        run_dir=tmp_path / "run",
        max_epochs=9,
        fast_dev_run=2,
        callbacks=[*default_callbacks(), recorder],
    ).fit(ToyModule(), ToyData())
    assert result.step == 2
    assert result.metrics == {}
    assert "on_validation_batch_end" in [event for event, _, _ in recorder.events]
    assert not (tmp_path / "run").exists()


def test_overfit_batches_repeats_the_first_ones():
    seen = []

    class Watching(ToyModule):
        def training_step(self, batch):
            seen.append(batch[0].tobytes())
            return super().training_step(batch)

    Engine(max_epochs=3, overfit_batches=2).fit(Watching(), ToyData(batches=6))
    assert len(seen) == 6
    assert seen[:2] * 3 == seen


def test_live_state_is_readable_from_another_thread():
    seen = []

    class Slow(Callback):
        def on_log(self, run):
            thread = threading.Thread(target=lambda: seen.append(run.live))
            thread.start()
            thread.join()

    Engine(max_epochs=2, log_every=1, callbacks=[Slow()]).fit(ToyModule(), ToyData(batches=3))
    assert [state.step for state in seen] == [1, 2, 3, 4, 5, 6]
    assert [state.epoch for state in seen] == [0, 0, 0, 1, 1, 1]
    assert all(
        state.max_steps == 6 and math.isfinite(state.train_loss) and 0 <= state.train_accuracy <= 1
        for state in seen
    )
    assert seen[0].metrics == {}
    assert set(seen[-1].metrics) == {"error", "bias"}
    assert seen[-1].eta_seconds == 0.0


def test_requests_are_taken_up_after_the_step(tmp_path):
    recorder = Recorder()

    class Asking(Callback):
        def on_train_batch_start(self, run):
            if run.progress.step == 2:
                run.request_validation()
                run.request_commit("because")
            if run.progress.step == 4:
                run.request_stop("enough")

    result = Engine(
        run_dir=tmp_path,
        max_epochs=5,
        validate_every="never",
        commit_every="never",
        callbacks=[Asking(), recorder, Checkpoint()],
    ).fit(ToyModule(), ToyData())
    assert result.stopped_by == "enough"
    assert result.step == 5
    assert [(step) for event, step, _ in recorder.events if event == "on_commit"] == [3, 5]


def test_a_validation_can_be_requested_though_none_is_scheduled():
    recorder = Recorder()

    class Asking(Callback):
        def on_train_batch_start(self, run):
            if run.progress.step == 2:
                run.request_validation()

    Engine(max_epochs=1, validate_every="never", callbacks=[Asking(), recorder]).fit(
        ToyModule(), ToyData()
    )
    assert [step for event, step, _ in recorder.events if event == "on_validation_end"] == [3]


def test_the_first_exception_is_what_the_caller_sees():
    order = []

    class Failing(Callback):
        def __init__(self, name):
            self.name = name

        def on_exception(self, run, error):
            order.append(("on_exception", self.name, str(error)))
            raise ValueError("in the clean-up")

        def on_fit_end(self, run):
            order.append(("on_fit_end", self.name))

    class Broken(ToyModule):
        def training_step(self, batch):
            raise KeyError("the real one")

    with pytest.raises(KeyError, match="the real one"):
        Engine(max_epochs=1, callbacks=[Failing("a"), Failing("b")]).fit(Broken(), ToyData())
    assert [entry[:2] for entry in order] == [
        ("on_exception", "b"),
        ("on_exception", "a"),
        ("on_fit_end", "b"),
        ("on_fit_end", "a"),
    ]


def test_data_that_ends_early_is_an_error_not_a_short_epoch():
    class Short(ToyData):
        def train_batches(self, epoch, start):
            return iter(list(super().train_batches(epoch, start))[:4])

    with pytest.raises(RunError, match="ended after 4 batches of epoch 1: expected 6"):
        Engine(max_epochs=1).fit(ToyModule(), Short())


def test_metrics_must_be_those_that_were_declared():
    class Odd(ToyModule):
        def on_validation_end(self):
            return {"other": 1.0}

    with pytest.raises(UsageError, match="expected \\['error', 'bias'\\]"):
        Engine(max_epochs=1).fit(Odd(), ToyData())


def test_nothing_is_fetched_from_the_device_between_log_points(tmp_path):
    """A test double counts what would wait for a GPU: every conversion of a tensor to a Python or
    NumPy value."""

    class LogPoints(Callback):
        def on_train_batch_end(self, run):
            assert run.at_log_point == (run.progress.step in (1, 5, 10))

    counter = FetchCounter()
    engine = Engine(
        run_dir=tmp_path,
        max_steps=12,
        log_every=5,
        clip_norm=1.0,
        validate_every="never",
        commit_every="never",
        callbacks=[
            *default_callbacks(),
            EMA(),
            CosineWarmup(warmup_epochs=1),
            counter,
            LogPoints(),
        ],
    )
    with counter.counting():
        engine.fit(ToyModule(), ToyData())
    fetched = counter.counts
    assert fetched.pop(0) > 0  # the rehearsal of a commit
    assert fetched.pop(12) > 0  # the commit at the end
    assert fetched == {1: 1, 5: 1, 10: 1}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "neither max_epochs nor max_steps"),
        ({"max_epochs": 0}, "max_epochs is 0"),
        ({"max_epochs": 1, "accumulate": 0}, "accumulate is 0"),
        ({"max_epochs": 1, "validate_every": "2"}, "validate_every is '2'"),
        ({"max_epochs": 1, "validate_every": "5 minutes"}, "validate_every is '5 minutes'"),
        ({"max_epochs": 1, "commit_every": "-1 steps"}, "commit_every is '-1 steps'"),
    ],
)
def test_senseless_options_are_refused(options, message):
    with pytest.raises(UsageError, match=message):
        Engine(**options).fit(ToyModule(), ToyData())
