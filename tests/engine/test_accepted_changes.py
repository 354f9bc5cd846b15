"""Resuming with another configuration, other data, metrics or callbacks: what is accepted acts."""

import pytest
from toy import ToyData, ToyModule

from vprtrain.callbacks import (
    Checkpoint,
    CosineWarmup,
    EarlyStopping,
    ExponentialWarmup,
    MarginSchedule,
    ResumeStep,
)
from vprtrain.checkpoint.state_file import open_checkpoint
from vprtrain.engine import Adam, AdamW, Callback, Engine, Momentum
from vprtrain.engine.seeding import seed_all
from vprtrain.errors import UsageError


class Watch(Callback):
    """Stops after a step, and notes the position, rate and margin of each step before."""

    def __init__(self, stop=None):
        self.stop, self.seen, self.rates, self.margins = stop, [], [], []

    def on_train_batch_end(self, run):
        self.seen.append((run.progress.epoch, run.progress.batch_in_epoch))
        self.rates.append(run.learning_rate)
        self.margins.append(run.module.margin)
        if run.progress.step == self.stop:
            run.request_stop("test")


def fit(run_dir, *callbacks, module=ToyModule, data=None, accept=True, stop=None, **options):
    seed_all(3)
    watch = Watch(stop)
    options = {"max_epochs": 10, "optimizer": Adam(learning_rate=0.01)} | options
    engine = Engine(
        run_dir=run_dir,
        callbacks=[ResumeStep(), Checkpoint(), *callbacks, watch],
        **({"validate_every": "never"} | options),
    )
    result = engine.fit(module(), data or ToyData(), accept_changes=accept)
    return result, watch


def test_an_accepted_learning_rate_acts(tmp_path):
    fit(tmp_path, stop=4)
    _, watch = fit(tmp_path, optimizer=Adam(learning_rate=0.5), stop=8)
    assert watch.rates == pytest.approx([0.5] * 4)
    assert open_checkpoint(tmp_path / "last_model").state.learning_rate == pytest.approx(0.5)
    _, watch = fit(tmp_path, optimizer=Adam(learning_rate=0.5), accept=False, stop=12)
    assert watch.rates == pytest.approx([0.5] * 4)


def test_another_optimizer_keeps_the_accumulators_if_they_fit(tmp_path, caplog):
    fit(tmp_path, stop=4)
    fit(tmp_path, optimizer=AdamW(learning_rate=0.01, beta1=0.8), stop=6)
    assert "without accumulators" not in caplog.text
    fit(tmp_path, optimizer=Momentum(learning_rate=0.01), stop=8)
    assert "the optimizer starts without accumulators" in caplog.text


@pytest.mark.parametrize("batches", [3, 12])
@pytest.mark.parametrize("stop", [30, 31])  # at an epoch's end, and one batch after it
def test_epochs_count_as_epochs_with_a_smaller_or_grown_data_set(tmp_path, batches, stop):
    fit(tmp_path, stop=stop)
    result, watch = fit(tmp_path, data=ToyData(batches=batches), stop=None)
    assert (result.stopped_by, result.epoch) == ("max_epochs", 10)
    assert result.step == 30 + 5 * batches
    assert watch.seen[-1] == (9, batches)
    again, _ = fit(tmp_path, data=ToyData(batches=batches), accept=False)
    assert (again.stopped_by, again.step) == ("max_epochs", result.step)


def test_data_that_shrank_below_the_position_goes_on_with_the_next_epoch(tmp_path):
    fit(tmp_path, stop=35)  # batch 5 of epoch 6
    result, watch = fit(tmp_path, data=ToyData(batches=4))
    assert watch.seen[0] == (6, 1)
    assert (result.epoch, result.step) == (10, 35 + 4 * 4)


@pytest.mark.parametrize(
    "schedule",
    [
        lambda: CosineWarmup(warmup_epochs=2.0),
        lambda: CosineWarmup(warmup_epochs=7.0),
        lambda: ExponentialWarmup(warmup_epochs=2.0),
        lambda: ExponentialWarmup(warmup_epochs=7.0),
    ],
)
def test_schedules_follow_epochs_of_another_length(tmp_path, schedule):
    whole = fit(None, schedule())[1].rates
    fit(tmp_path, schedule(), stop=30)
    resumed = fit(tmp_path, schedule(), data=ToyData(batches=12))[1].rates
    assert resumed[::2] == pytest.approx(whole[30:])


def test_the_margin_follows_epochs_of_another_length(tmp_path):
    def margin():
        return MarginSchedule(start_epoch=6, fix_epoch=8)

    whole = fit(None, margin())[1].margins
    fit(tmp_path, margin(), stop=30)
    resumed = fit(tmp_path, margin(), data=ToyData(batches=12))[1].margins
    assert resumed[::2] == pytest.approx(whole[30:])


class Lazy(Callback):
    """Has a state from some step on, or until then."""

    def __init__(self, first, last=99):
        self.first, self.last, self.state = first, last, {"start": 1} if first == 0 else {}

    def on_train_batch_end(self, run):
        step = run.progress.step
        self.state = {"step": step} if self.first <= step < self.last else {}

    def state_dict(self):
        return self.state

    def load_state_dict(self, state):
        self.state = dict(state)


@pytest.mark.parametrize(("first", "last"), [(3, 99), (0, 3), (8, 99)])
def test_a_state_may_be_filled_late_or_become_empty(tmp_path, first, last):
    fit(tmp_path, Lazy(first, last), stop=4)
    callback = Lazy(first, last)
    fit(tmp_path, callback, accept=False, stop=6)
    assert callback.state == ({"step": 6} if first <= 6 < last else {})


def test_callbacks_with_a_state_that_came_or_went_are_named(tmp_path):
    fit(tmp_path, Lazy(0), stop=4)
    with pytest.raises(UsageError, match="the callback Lazy was there, is not"):
        fit(tmp_path, accept=False)
    fit(tmp_path / "without", stop=4)
    with pytest.raises(UsageError, match="the callback Lazy was not there, is now"):
        fit(tmp_path / "without", Lazy(0), accept=False)
    assert fit(tmp_path / "without", Lazy(0))[0].stopped_by == "max_epochs"


class MoreMetrics(ToyModule):
    metric_names = ("error", "bias", "spread")

    def on_validation_end(self):
        return {**super().on_validation_end(), "spread": 2.0}


def test_an_added_metric_is_named_and_may_be_accepted(tmp_path):
    fit(tmp_path, EarlyStopping(patience=99), stop=12, validate_every="1 epoch")
    with pytest.raises(UsageError, match=r"the metrics were \['bias', 'error'\], are"):
        fit(tmp_path, EarlyStopping(patience=99), module=MoreMetrics, accept=False)
    result, _ = fit(
        tmp_path,
        EarlyStopping(patience=99, monitor="spread"),
        module=MoreMetrics,
        stop=18,
        validate_every="1 epoch",
    )
    assert result.metrics["spread"] == 2.0
    state = open_checkpoint(tmp_path / "last_model").state
    assert state.metrics.keys() == {"error", "bias", "spread"}
    result, _ = fit(tmp_path, stop=24, validate_every="1 epoch")
    assert result.metrics.keys() == {"error", "bias"}


class Unvalidated(ToyData):
    def validation_batches(self):
        return None


class StopInValidation(Callback):
    def on_validation_batch_end(self, run):
        run.request_stop("test")


def test_a_pending_validation_without_validation_data_is_given_up(tmp_path):
    fit(tmp_path, StopInValidation(), validate_every="1 epoch")
    assert open_checkpoint(tmp_path / "last_model").state.validation_pending
    result, _ = fit(tmp_path, data=Unvalidated(), validate_every="1 epoch", max_epochs=3)
    assert (result.stopped_by, result.epoch) == ("max_epochs", 3)
