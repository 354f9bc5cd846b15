"""EarlyStopping: patience, min_delta, and a decision that survives a restart."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from probes import Scored, StopAfter, last, train
from toy import ToyData, ToyModule

from vprtrain.callbacks import EarlyStopping
from vprtrain.engine import Engine
from vprtrain.errors import UsageError

ONE_STEP = ToyData(batches=2)


def fit(stopping, *errors, **options):
    """Each epoch ends with a validation that gives the next of these errors."""
    return train(
        stopping,
        module=lambda: Scored(*errors),
        data=ONE_STEP,
        **{"max_epochs": len(errors)} | options,
    )


def test_stops_after_patience_validations_without_improvement():
    run = fit(EarlyStopping(patience=2), 0.5, 0.4, 0.4, 0.6, 0.1)
    assert (run.result.stopped_by, run.result.epoch) == ("early_stopping", 4)


def test_an_improvement_starts_the_count_anew():
    run = fit(EarlyStopping(patience=2), 0.5, 0.6, 0.4, 0.5, 0.3, 0.4)
    assert run.result.stopped_by == "max_epochs"


def test_less_than_min_delta_is_no_improvement():
    errors = 0.5, 0.45, 0.41, 0.39
    assert fit(EarlyStopping(patience=3), *errors).result.epoch == 4
    assert (
        fit(EarlyStopping(patience=2, min_delta=0.1), *errors).result.stopped_by == "early_stopping"
    )
    # compared with the best value, not the previous one: 0.39 improves on 0.5
    assert fit(EarlyStopping(patience=3, min_delta=0.1), *errors).result.stopped_by == "max_epochs"


def stops_at(errors, patience, min_delta):
    best, best_at = errors[0], 0
    for number, error in enumerate(errors):
        if error < best - min_delta:
            best, best_at = error, number
        if number - best_at >= patience:
            return number + 1
    return None


@settings(max_examples=25, deadline=None)
@given(
    errors=st.lists(st.integers(0, 8), min_size=1, max_size=7),
    patience=st.integers(1, 4),
    min_delta=st.integers(0, 2),
)
def test_stops_where_the_best_is_patience_validations_ago(errors, patience, min_delta):
    run = fit(EarlyStopping(patience=patience, min_delta=min_delta), *map(float, errors))
    assert run.result.epoch == (stops_at(errors, patience, min_delta) or len(errors))


def test_watches_the_metric_it_is_told():
    run = fit(EarlyStopping(monitor="bias", patience=1), 0.5, 0.4, 0.3)
    assert run.result.epoch == 2  # the bias stays 0


def test_a_validation_cut_short_does_not_count():
    class EndEveryOther(EarlyStopping):
        def on_validation_batch_end(self, run):
            if run.progress.epoch % 2 == 0:
                run.request_end_of_validation()

    run = fit(EndEveryOther(patience=2), 0.5, 0.6, 0.7, max_epochs=6)
    assert (run.result.stopped_by, run.result.epoch) == ("max_epochs", 6)


def test_the_count_goes_on_over_a_resume(tmp_path):
    options = {"run_dir": tmp_path, "max_epochs": 6}
    errors = 0.5, 0.6, 0.7, 0.8, 0.1, 0.1
    cut = train(
        EarlyStopping(patience=3),
        StopAfter(5),
        module=lambda: Scored(*errors),
        data=ONE_STEP,
        **options,
    )
    assert cut.result.stopped_by == "test"
    assert last(tmp_path).state.callbacks["EarlyStopping"] == {"best": 0.5, "waited": 1}
    resumed = fit(EarlyStopping(patience=3), *errors[2:], **options)
    assert (resumed.result.stopped_by, resumed.result.epoch) == ("early_stopping", 4)


def test_a_run_it_stopped_stays_stopped(tmp_path):
    options = {"run_dir": tmp_path, "max_epochs": 6}
    first = fit(EarlyStopping(patience=1), 0.5, 0.6, **options)
    again = fit(EarlyStopping(patience=1), 0.1, **options)
    assert (again.result.stopped_by, again.result.step) == ("early_stopping", first.result.step)
    assert again.module.validations == 0


def test_more_patience_lets_a_stopped_run_go_on(tmp_path):
    """As the line at the end of ``fit`` says."""
    options = {"run_dir": tmp_path, "max_epochs": 5}
    first = fit(EarlyStopping(patience=1), 0.5, 0.6, **options)
    again = fit(EarlyStopping(patience=3), 0.7, 0.1, 0.1, **options, fit={"accept_changes": True})
    assert (first.result.stopped_by, again.result.stopped_by) == ("early_stopping", "max_epochs")
    assert again.module.validations == 3


def test_one_object_may_serve_two_runs():
    stopping = EarlyStopping(patience=1)
    assert fit(stopping, 0.5, 0.6, 0.7).result.epoch == 2
    assert fit(stopping, 0.9, 0.8, 0.9).result.epoch == 3


def test_validating_alone_counts_nothing():
    engine = Engine(callbacks=[EarlyStopping(patience=1)], max_epochs=1)
    metrics = [engine.validate(ToyModule(), ToyData()) for _ in range(3)]
    assert all(metrics)


def test_what_cannot_be_is_refused():
    with pytest.raises(UsageError, match="patience is 0"):
        EarlyStopping(patience=0)
    with pytest.raises(
        UsageError,
        match=r"EarlyStopping monitors 'eer', but the module's metrics are \['error', 'bias'\]",
    ):
        train(EarlyStopping(monitor="eer"))


def test_higher_may_be_better():
    values = 0.5, 0.6, 0.7, 0.65, 0.7
    assert fit(EarlyStopping(patience=2, mode="max"), *values).result.epoch == 5
    assert fit(EarlyStopping(patience=2, mode="min"), *values).result.epoch == 3
    with pytest.raises(UsageError, match="mode is 'most': expected 'min' or 'max'"):
        EarlyStopping(mode="most")
