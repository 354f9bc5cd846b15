"""Engine.predict and Engine.test."""

import numpy as np
import paddle
import pytest
from probes import assert_equal_arrays, train
from toy import ToyData, ToyModule

from vprtrain.engine import Engine
from vprtrain.errors import UsageError


class Predicting(ToyModule):
    def predict_step(self, batch):
        assert not self.training and not paddle.is_grad_enabled()
        return self.layers(paddle.to_tensor(batch))


def batches():
    return np.random.default_rng(0).standard_normal((3, 4, 8)).astype("float32")


def test_predictions_of_a_checkpoint_are_those_of_the_trained_module(tmp_path):
    trained = train(run_dir=tmp_path, max_epochs=1, module=Predicting).module
    engine = Engine(max_steps=1)
    fresh = Predicting()
    found = list(engine.predict(fresh, batches(), tmp_path / "last_model"))
    expected = list(engine.predict(trained, list(batches())))
    assert len(found) == 3
    assert all(isinstance(each, paddle.Tensor) and each.stop_gradient for each in found)
    np.testing.assert_array_equal(np.stack(found), np.stack(expected))
    assert fresh.training


def test_between_two_predictions_the_caller_has_gradients():
    module = Predicting()
    for _ in Engine(max_steps=1).predict(module, batches()):
        assert paddle.is_grad_enabled()
        assert not module.training


@pytest.mark.parametrize("training", [True, False])
def test_closing_restores_the_mode_and_closes_the_batches(training):
    closed = []

    def loader():
        try:
            yield from batches()
        finally:
            closed.append(True)

    module = Predicting()
    module.training = training
    predictions = Engine(max_steps=1).predict(module, loader())
    next(predictions)
    assert not module.training and not closed
    predictions.close()
    assert module.training == training and closed == [True]


def test_an_error_restores_the_mode():
    module = Predicting()
    with pytest.raises(ValueError):
        list(Engine(max_steps=1).predict(module, [np.zeros((4, 3), np.float32)]))
    assert module.training


def test_a_module_that_cannot_predict_is_told():
    with pytest.raises(NotImplementedError, match="ToyModule has no predict_step"):
        next(Engine(max_steps=1).predict(ToyModule(), batches()))


def test_test_validates_the_best_checkpoint_on_other_data(tmp_path):
    trained = train(run_dir=tmp_path, validate_every="1 steps")
    other = ToyData(seed=9)
    module = ToyModule()
    found = trained.engine.test(module, other)
    assert found == Engine(max_steps=1).validate(ToyModule(), other, tmp_path / "best_model")
    assert found != trained.result.metrics
    best = ToyModule()
    Engine(max_steps=1).validate(best, other, tmp_path / "best_model")
    assert_equal_arrays(
        *({name: value.numpy() for name, value in m.state_dict().items()} for m in (module, best))
    )


def test_test_without_a_checkpoint_is_refused(tmp_path):
    with pytest.raises(UsageError, match="test needs the engine's run_dir"):
        Engine(max_steps=1).test(ToyModule(), ToyData())
    with pytest.raises(UsageError, match="is not a checkpoint"):
        Engine(max_steps=1, run_dir=tmp_path / "empty").test(ToyModule(), ToyData())
