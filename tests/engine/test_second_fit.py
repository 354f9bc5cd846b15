"""An Engine and its callbacks are as new in a second fit, whatever ended the first."""

import pytest
from toy import ToyData, ToyModule

from vprtrain.callbacks import (
    EMA,
    Checkpoint,
    CosineWarmup,
    EarlyStopping,
    ExponentialWarmup,
    GracefulStop,
    JsonlLog,
    MarginSchedule,
    MixedPrecision,
    ResumeStep,
    TensorBoard,
)
from vprtrain.engine import Adam, AdamW, Callback, Engine, Momentum
from vprtrain.engine.seeding import seed_all
from vprtrain.errors import UsageError


class Failing(ToyModule):
    """Its second validation batch fails."""

    def validation_step(self, batch):
        if self.residuals:
            raise ZeroDivisionError
        super().validation_step(batch)


def test_an_error_in_a_validation_leaves_the_module_in_training_mode():
    module = Failing()
    with pytest.raises(ZeroDivisionError):
        Engine(max_epochs=1).fit(module, ToyData())
    assert module.training and all(layer.training for layer in module.sublayers())


def test_a_second_fit_ends_like_the_first():
    engine = Engine(
        max_epochs=4,
        callbacks=[EMA(decay=0.5), CosineWarmup(warmup_epochs=1), EarlyStopping(patience=2)],
    )

    def fit():
        seed_all(1)
        module = ToyModule()
        result = engine.fit(module, ToyData())
        return result, {name: value.tolist() for name, value in module.state_dict().items()}

    first, second = fit(), fit()
    assert first == second


def test_a_stop_that_was_asked_for_ends_one_fit_only():
    stop = GracefulStop()

    class Stopping(ToyModule):
        def training_step(self, batch):
            stop.stop_train = True
            return super().training_step(batch)

    engine = Engine(max_epochs=1, callbacks=[stop])
    assert engine.fit(Stopping(), ToyData()).stopped_by == "stop_train"
    assert engine.fit(ToyModule(), ToyData()).stopped_by == "max_epochs"


def test_early_stopping_without_a_validation_says_so(caplog):
    engine = Engine(max_epochs=1, validate_every="never", callbacks=[EarlyStopping()])
    engine.fit(ToyModule(), ToyData())
    assert "EarlyStopping never stops this run, because it has no validation" in caplog.text


@pytest.mark.parametrize(
    ("callbacks", "role"),
    [
        ([EMA(), EMA()], "the average of the weights"),
        ([Checkpoint(), Checkpoint(keep=9)], "the checkpoints"),
        ([CosineWarmup(), ExponentialWarmup()], "the learning rate"),
        ([MarginSchedule(), MarginSchedule()], "the margin"),
        ([MixedPrecision(), MixedPrecision()], "the precision"),
        ([JsonlLog(), JsonlLog()], "metrics.jsonl"),
        ([TensorBoard(), TensorBoard()], "the TensorBoard events"),
        ([ResumeStep(), ResumeStep()], "the position of a resume"),
    ],
)
def test_two_callbacks_for_one_thing_are_refused(callbacks, role):
    with pytest.raises(UsageError, match=f"are both callbacks for {role}: keep one of them"):
        Engine(max_epochs=1, callbacks=callbacks)


def test_one_callback_twice_is_refused():
    average = EMA()
    with pytest.raises(UsageError, match="EMA and EMA are both callbacks for the average"):
        Engine(max_epochs=1, callbacks=[average, average])


def test_callbacks_that_do_not_fight_may_be_there_twice():
    class Note(Callback):
        pass

    Engine(max_epochs=1, callbacks=[Note(), Note(), EarlyStopping(), EarlyStopping()])


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"clip_norm": 0}, "clip_norm is 0; expected a finite number above 0"),
        ({"clip_norm": -1.0}, "clip_norm is -1.0"),
        ({"clip_norm": float("nan")}, "clip_norm is nan"),
        ({"max_time": -1}, "max_time is -1"),
        ({"max_time": float("inf")}, "max_time is inf"),
        ({"fast_dev_run": -1}, "fast_dev_run is -1"),
        ({"overfit_batches": -1}, "overfit_batches is -1"),
        ({"accumulate": 0}, "accumulate is 0"),
        ({"max_epochs": 0}, "max_epochs is 0"),
        ({"max_steps": -3}, "max_steps is -3"),
        ({"log_every": 0}, "log_every is 0"),
        ({"accumulate": 2.5}, "accumulate is 2.5; expected a whole number"),
        ({"max_epochs": True}, "max_epochs is True"),
        ({"seed": "a"}, "seed is 'a'"),
    ],
)
def test_numbers_out_of_range_are_refused(options, named):
    with pytest.raises(UsageError, match=named):
        Engine(**{"max_epochs": 1} | options)


@pytest.mark.parametrize(
    ("make", "options", "named"),
    [
        (CosineWarmup, {"peak": -1.0}, "CosineWarmup's peak is -1.0"),
        (CosineWarmup, {"warmup_epochs": float("nan")}, "warmup_epochs is nan"),
        (ExponentialWarmup, {"minimum": 0}, "ExponentialWarmup's minimum is 0"),
        (MarginSchedule, {"final": float("inf")}, "MarginSchedule's final is inf"),
        (EMA, {"decay": 1.0}, "EMA's decay is 1.0"),
        (EarlyStopping, {"patience": 1.5}, "EarlyStopping's patience is 1.5"),
        (EarlyStopping, {"min_delta": -1.0}, "EarlyStopping's min_delta is -1.0"),
        (Checkpoint, {"keep": 0}, "Checkpoint's keep is 0"),
        (Adam, {"learning_rate": -0.1}, "Adam's learning_rate is -0.1"),
        (Adam, {"beta2": 1.0}, "Adam's beta2 is 1.0"),
        (AdamW, {"weight_decay": float("nan")}, "AdamW's weight_decay is nan"),
        (Momentum, {"momentum": -1.0}, "Momentum's momentum is -1.0"),
    ],
)
def test_numbers_of_callbacks_and_optimizers_have_bounds(make, options, named):
    with pytest.raises(UsageError, match=named):
        make(**options)


def test_the_run_directory_stays_where_it_was(tmp_path, monkeypatch):
    """The user's code may change the working folder."""
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)

    class Moving(ToyData):
        def setup(self, run_dir, *, resumed):
            monkeypatch.chdir(tmp_path / "elsewhere")

    engine = Engine(run_dir="run", max_epochs=1, callbacks=[Checkpoint(), JsonlLog()])
    engine.fit(ToyModule(), Moving())
    assert not list((tmp_path / "elsewhere").iterdir())
    assert {"epoch_1", "last_model", "metrics.jsonl"} <= {
        path.name for path in (tmp_path / "run").iterdir()
    }


def test_the_log_of_a_run_whose_checkpoints_were_moved_away_is_kept(tmp_path, caplog):
    def fit():
        Engine(run_dir=tmp_path, max_epochs=1, callbacks=[Checkpoint(), JsonlLog()]).fit(
            ToyModule(), ToyData()
        )

    fit()
    old = (tmp_path / "metrics.jsonl").read_bytes()
    (tmp_path / "old").mkdir()
    for path in [*tmp_path.glob("*_model"), *tmp_path.glob("epoch_*")]:
        path.rename(tmp_path / "old" / path.name)
    fit()
    assert (tmp_path / "metrics.jsonl.aside1").read_bytes() == old
    assert (tmp_path / "metrics.jsonl").exists()
    assert "was of an earlier run: kept as metrics.jsonl.aside1" in caplog.text
