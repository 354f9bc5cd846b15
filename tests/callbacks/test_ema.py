"""EMA: the average as defined, used for validation and saved along with the weights."""

import numpy as np
import paddle
import pytest
from probes import StopAfter, Watch, assert_equal_arrays, last, train
from toy import ToyData, ToyModule

from vprtrain.callbacks import EMA
from vprtrain.checkpoint.file_names import AVERAGED_MODEL_FILE, MODEL_FILE
from vprtrain.engine import Engine
from vprtrain.errors import UsageError


def copied(run):
    return {name: tensor.numpy() for name, tensor in run.module.state_dict().items()}


def recursion(first, course, decay):
    """The average in float64, by the formula in the docstring of EMA."""
    average = {name: array.astype(np.float64) for name, array in first.items()}
    for step, weights in enumerate(course, 1):
        d = min(decay, (1 + step) / (10 + step))
        average = {
            name: d * average[name] + (1 - d) * weights[name].astype(np.float64) for name in average
        }
    return average


def assert_close(ours, theirs):
    assert ours.keys() == theirs.keys()
    for name, array in ours.items():
        np.testing.assert_allclose(array, theirs[name], rtol=1e-6, atol=1e-6, err_msg=name)


@pytest.mark.parametrize("decay", [0.999, 0.3])
def test_equals_the_recursion(tmp_path, decay):
    first = Watch("on_fit_start", copied)
    course = Watch("on_train_batch_end", copied)
    train(EMA(decay=decay), first, course, run_dir=tmp_path, max_epochs=4)
    assert len(course.seen) == 24
    assert_close(
        last(tmp_path).arrays(AVERAGED_MODEL_FILE), recursion(first.seen[0], course.seen, decay)
    )
    assert_equal_arrays(last(tmp_path).arrays(MODEL_FILE), course.seen[-1])


def test_batch_norms_statistics_are_averaged_too(tmp_path):
    train(EMA(), run_dir=tmp_path)
    averaged, plain = last(tmp_path).arrays(AVERAGED_MODEL_FILE), last(tmp_path).arrays(MODEL_FILE)
    assert "layers.1._mean" in averaged
    for name, array in averaged.items():
        assert not np.array_equal(array, plain[name]), name


def test_validation_runs_on_the_average_and_training_goes_on_with_the_weights(tmp_path):
    during, after = Watch("on_validation_batch_end", copied), Watch("on_train_batch_end", copied)
    with_average = train(EMA(), during, after, run_dir=tmp_path)
    assert_equal_arrays(during.seen[-1], last(tmp_path).arrays(AVERAGED_MODEL_FILE))
    assert_equal_arrays(with_average.weights, after.seen[-1])
    assert_equal_arrays(with_average.weights, train().weights)
    assert with_average.result.metrics != train().result.metrics


def test_averaging_changes_nothing_of_the_training():
    assert_equal_arrays(train(EMA()).weights, train().weights)


@pytest.mark.parametrize("cut", [1, 5, 6, 9])
def test_a_resumed_average_has_the_same_bits(tmp_path, cut):
    train(EMA(), run_dir=tmp_path / "whole")
    train(EMA(), StopAfter(cut), run_dir=tmp_path / "cut")
    train(EMA(), run_dir=tmp_path / "cut")
    ours, theirs = last(tmp_path / "cut"), last(tmp_path / "whole")
    assert_equal_arrays(ours.arrays(AVERAGED_MODEL_FILE), theirs.arrays(AVERAGED_MODEL_FILE))
    assert_equal_arrays(ours.arrays(MODEL_FILE), theirs.arrays(MODEL_FILE))
    assert ours.state.best.value == theirs.state.best.value


def test_a_validation_cut_short_gives_the_weights_back(tmp_path):
    class Cut(EMA):
        def on_validation_batch_end(self, run):
            run.request_stop("test")

    after = Watch("on_train_batch_end", copied)
    run = train(Cut(), after, run_dir=tmp_path)
    assert last(tmp_path).state.validation_pending
    assert_equal_arrays(run.weights, after.seen[-1])
    assert_equal_arrays(last(tmp_path).arrays(MODEL_FILE), after.seen[-1])


def test_a_validation_that_fails_gives_the_weights_back():
    class Fails(ToyModule):
        def validation_step(self, batch):
            raise ValueError("this batch cannot be read")

    after = Watch("on_train_batch_end", copied)
    module = Fails()
    with pytest.raises(ValueError, match="this batch cannot be read"):
        train(EMA(), after, module=lambda: module, sanity_batches=0)
    assert_equal_arrays(
        {name: tensor.numpy() for name, tensor in module.state_dict().items()}, after.seen[-1]
    )


def test_validate_takes_the_average_of_a_checkpoint(tmp_path):
    run = train(EMA(), run_dir=tmp_path)
    module = ToyModule()
    assert (
        Engine(max_epochs=1).validate(module, ToyData(), tmp_path / "last_model")
        == run.result.metrics
    )
    assert_equal_arrays(
        {name: tensor.numpy() for name, tensor in module.state_dict().items()},
        last(tmp_path).arrays(AVERAGED_MODEL_FILE),
    )


def test_validating_after_a_fit_takes_what_it_is_given(tmp_path):
    """The averages of the fit must not replace those of the checkpoint or the module's weights."""
    train(EMA(), run_dir=tmp_path / "other", data=ToyData(seed=1))
    run = train(EMA(), run_dir=tmp_path / "run")
    expected = Engine(max_epochs=1).validate(ToyModule(), ToyData(), tmp_path / "other")
    assert run.engine.validate(ToyModule(), ToyData(), tmp_path / "other") == expected
    assert run.engine.validate(run.module, ToyData()) == train().result.metrics


def test_integer_entries_are_saved_as_they_are(tmp_path):
    class Counting(ToyModule):
        def __init__(self):
            super().__init__()
            self.register_buffer("batches", paddle.zeros([1], dtype="int64"))

        def training_step(self, batch):
            self.batches += 1
            return super().training_step(batch)

    train(EMA(), module=Counting, run_dir=tmp_path)
    averaged = last(tmp_path).arrays(AVERAGED_MODEL_FILE)
    assert averaged.keys() == last(tmp_path).arrays(MODEL_FILE).keys()
    assert averaged["batches"].tolist() == [12]


def test_another_decay_is_refused_on_resume(tmp_path):
    train(EMA(decay=0.99), StopAfter(3), run_dir=tmp_path)
    with pytest.raises(UsageError, match=r"EMA\.decay was 0\.99, is 0\.9;?"):
        train(EMA(decay=0.9), run_dir=tmp_path)


@pytest.mark.parametrize("decay", [0.0, 1.0, -1.0])
def test_a_decay_that_cannot_be_is_refused(decay):
    with pytest.raises(UsageError, match="expected a finite number above 0 and below 1"):
        EMA(decay=decay)
